"""§7.3 The command line: one file a command."""
