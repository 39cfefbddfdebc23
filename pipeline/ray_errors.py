"""What an error of Ray says of an actor's end, in a line."""

HEADING = "The actor died unexpectedly before finishing this task."
"""What every death begins with; the actor's name and numbers follow behind tabs."""


def sentence(error: Exception) -> str:
    """The first sentence that tells something: of a death, one of Ray's own that quotes nothing."""
    told = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line.startswith("\t") and line != HEADING
    ]
    return told[0].partition(". ")[0].rstrip(".") if told else type(error).__name__


def last_line(error: Exception) -> str:
    """The exception at the end of the traceback that Ray sends along."""
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "no cause")
