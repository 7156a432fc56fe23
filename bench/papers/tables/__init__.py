"""§7.3 The VAE on other people's tables, beside what a person would take otherwise."""
