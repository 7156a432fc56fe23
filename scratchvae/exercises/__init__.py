"""§7 Exercises: the backward passes of the chapter, written by you and proved at once.

`course` lists them. Each eNN module states one: what is to be written, the points at which its slopes are checked, the
laws that no slope sees, two hints, and the slips that people published in its place. `solutions` holds the answers; a
stub is a solution with the bodies taken out. `verdict` judges a file, `sandbox` does so in a process of its own.
"""

from .course import COURSE
from .record import Exercise, Law, Pair, Slip
from .verdict import show

__all__ = ["COURSE", "Exercise", "Law", "Pair", "Slip", "show"]
