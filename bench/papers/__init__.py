"""§7.3.1 Published numbers, reproduced: a command for each row, its result as JSON beside it."""
