"""§7.3 Whole training steps and log p(x) as a schedule, held equal to the pairs."""
