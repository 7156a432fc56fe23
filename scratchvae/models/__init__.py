"""§7.1, §7.3 The models p(x, z) and q(z | x)."""
