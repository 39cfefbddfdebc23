"""What an error of Ray says of an actor's end, in a line."""

from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
)


def end_from_outside(error: RayError) -> str:
    """The sentence on what ended a starting actor, if its process, node or memory went.

    Empty for what the next start would meet as well: one that raised, or that cannot be prepared.
    """
    if isinstance(error, RayActorError) and error.actor_init_failed:
        return ""
    outside = isinstance(error, RayActorError | NodeDiedError | OutOfMemoryError)
    return sentence(error) if outside else ""


def sentence(error: RayError) -> str:
    """The first sentence that tells something: of a death, one of Ray's own that quotes nothing."""
    # A death begins with a heading that all of them have, and the actor's numbers behind tabs.
    told = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line.startswith("\t") and line != ActorDiedError.BASE_ERROR_MSG
    ]
    return told[0].partition(". ")[0].rstrip(".") if told else type(error).__name__


def last_line(error: RayError) -> str:
    """The exception at the end of the traceback that Ray sends along."""
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "no cause")
