"""§7 The variational autoencoder from scratch: every gradient by hand, every gradient proved."""

__version__ = "0.1.0"
