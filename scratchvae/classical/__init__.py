"""§7.1.2 The classical rivals of auto-encoding variational Bayes, one file an algorithm."""
