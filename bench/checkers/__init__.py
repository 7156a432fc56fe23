"""§7.2.4 Gradient checkers compared: pairs that are right, pairs that are wrong, and what each checker says of them."""
