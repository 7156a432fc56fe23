"""§7.1.1 The three tasks: learn θ, infer z, fill in missing x."""
