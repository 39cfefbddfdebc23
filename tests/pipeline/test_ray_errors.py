"""Ray's own errors, and what of them is told."""

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RuntimeEnvSetupError,
)

from pipeline.ray_errors import end_from_outside, last_line, sentence


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemoryError("The node ran low on memory. Its top users:\nsecret"), "low on memory"),
        (ActorUnavailableError("no route", None), "no route"),
        (ActorDiedError(), "ActorDiedError"),
        (RayActorError("1", "Its node died. Node 10.0.0.1"), "Its node died"),
    ],
)
def test_what_ends_a_start_from_outside_is_told_in_a_sentence(error: RayError, told: str) -> None:
    assert end_from_outside(error) == sentence(error)
    assert told in sentence(error)
    assert not any(word in sentence(error) for word in ("\n", "secret", "10.0.0.1"))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeEnvSetupError("pip said\nno such package\n"),
        RayActorError("1", "Traceback\nno such package", actor_init_failed=True),
    ],
)
def test_what_the_next_start_meets_as_well_is_told_by_its_last_line(error: RayError) -> None:
    assert end_from_outside(error) == ""
    assert last_line(error) == "no such package"
