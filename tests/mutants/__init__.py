"""§7.2 Mutation proof: are the checks worth anything? Plant an error, and see that a check finds it.

    python -m tests.mutants              automatic mutants: of the mathematics against the tests, of the schedule
                                         against the mathematics; prints survivors
    python -m tests.mutants --gallery    the errors of other people's VAEs, and which check kills which

A mutant is one small change of one function (`scratchvae.mutants.operators` makes them from the syntax tree). Those of
the mathematics meet the tests that touch them (`automatic`, `pairs`); those of `fast` are planted in the schedule
interpreted as ordinary Python (`plain_schedule`, by `plain_engine`) and meet small runs (`schedule`, `schedule_cases`).
`equivalent` says why some change no value.
"""
