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

from pipeline.ray_errors import HEADING, last_line, sentence


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemoryError("The node ran low. Its users:\nsecret"), "The node ran low"),
        (ActorUnavailableError("no route", None), "The actor None is unavailable: no route"),
        (ActorDiedError(), "ActorDiedError"),
        (RayActorError("1", f"{HEADING}\n\tpid: 3\nIts node died. Node 10.0.0.1"), "Its node died"),
    ],
)
def test_an_end_is_told_in_a_sentence(error: RayError, told: str) -> None:
    assert sentence(error) == told


def test_the_heading_is_that_of_ray() -> None:
    assert HEADING == ActorDiedError.BASE_ERROR_MSG


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeEnvSetupError("pip said\nno such package\n"), "no such package"),
        (RayActorError("1", "Traceback\nKeyError: 'x'", actor_init_failed=True), "KeyError: 'x'"),
        (RayActorError("1", ""), "no cause"),
    ],
)
def test_what_raised_is_told_by_its_last_line(error: RayError, told: str) -> None:
    assert last_line(error) == told
