"""§7.3 Training: data, noise, optimizers, checkpoints and the loop of Algorithm 1 (AEVB)."""
