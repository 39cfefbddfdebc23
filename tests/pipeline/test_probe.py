"""Hours of a listing from its headers, some of which lie, and some of which harm their reader."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.malformed.kinds import KINDS, make_kind
from pipeline.inputs import list_inputs
from pipeline.probe import READ_HEADER, audio_hours
from schemas.job import InputsSpec
from schemas.source import Source
from stages.decode import PyavDecode
from stages.decoding.decoder import IsolatedDecoder
from tests.stages.decoding.asking import GOOD, HOSTILE

LIMITS = PyavDecode.Spec().limits()
BYTES_PER_HOUR = 32_000 * 3600  # of the good ones
BAD = (
    "bombs/flac-day",
    "bombs/ogg-20000-streams",
    "bombs/tar-terabyte",
    "headers/wav-44-bytes",
    "lies/flac-length",
    "lies/ogg-granule",
    "lies/rf64-terabyte",
    "lies/wav-size-100-times",
    "lies/xing-frames",
    "torn/m4a-half",
)


@pytest.fixture
def decoder() -> Iterator[IsolatedDecoder]:
    decoder = IsolatedDecoder(READ_HEADER, attempts=1)
    yield decoder
    decoder.close()


def listed(folder: Path) -> tuple[Source, ...]:
    return tuple(list_inputs(InputsSpec(uri=str(folder), include=["**/*"])).sources)


def good(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(GOOD)


def hours_of(sources: tuple[Source, ...]) -> float:
    """As if all of their bytes were like those of the good ones."""
    return sum(source.size_bytes for source in sources) / BYTES_PER_HOUR


def test_bad_files_stand_for_nothing(tmp_path: Path, decoder: IsolatedDecoder) -> None:
    made = [make_kind(tmp_path, kind) for kind in KINDS if kind.name in BAD]
    assert len(made) == len(BAD)
    good(tmp_path, "a.wav", "z.wav")
    sources = listed(tmp_path)
    hours, probed = audio_hours(sources, LIMITS, decoder)
    assert probed == 2
    assert hours == pytest.approx(hours_of(sources), rel=0.01)


def test_a_length_that_no_header_states_is_guessed(
    tmp_path: Path, decoder: IsolatedDecoder
) -> None:
    (kind,) = (kind for kind in KINDS if kind.name == "containers/adts")
    make_kind(tmp_path, kind)
    hours, probed = audio_hours(listed(tmp_path), LIMITS, decoder)
    assert probed == 1
    assert hours * 3600 == pytest.approx(4.0, abs=0.2)


def test_files_that_kill_or_hang_their_reader_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.probe.WALL_S", 2.0)
    good(tmp_path, "a.wav", "eat", "segfault", "sleep", "z.wav")
    decoder = IsolatedDecoder(HOSTILE, attempts=1)
    sources = listed(tmp_path)
    hours, probed = audio_hours(sources, LIMITS, decoder)
    decoder.close()
    assert probed == 2
    assert hours == pytest.approx(hours_of(sources), rel=0.01)


def test_of_many_inputs_a_sample_is_looked_at(tmp_path: Path, decoder: IsolatedDecoder) -> None:
    good(tmp_path, *(f"{number:03}.wav" for number in range(100)))
    sources = listed(tmp_path)
    hours, probed = audio_hours(sources, LIMITS, decoder)
    assert probed == 34
    assert hours == pytest.approx(hours_of(sources), rel=0.01)


def test_nothing_to_do_takes_no_time(decoder: IsolatedDecoder) -> None:
    assert audio_hours((), LIMITS, decoder) == (0.0, 0)
    assert decoder.child is None


def test_files_that_hang_their_reader_do_not_keep_a_plan_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.probe.WALL_S", 1.0)
    monkeypatch.setattr("pipeline.probe.ALL_WALL_S", 0.5)
    good(tmp_path, "a.wav", "sleep", "z.wav")
    decoder = IsolatedDecoder(HOSTILE, attempts=1)
    _, probed = audio_hours(listed(tmp_path), LIMITS, decoder)
    decoder.close()
    assert probed == 1, "what comes behind the one that hangs is not looked at any more"
