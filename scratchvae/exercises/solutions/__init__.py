"""§7 The answers: files as a learner leaves them."""
