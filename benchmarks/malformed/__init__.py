"""Over a hundred kinds of bad input, made on the spot, each with what must become of it.

`kinds.make_corpus` writes them, `check.check_rows` holds a run's tables against what was expected.
"""
