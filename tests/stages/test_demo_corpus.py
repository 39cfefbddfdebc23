"""Decoding, levels and voice activity in a row, on the recordings of the demo job."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from schemas.errors import ItemError
from schemas.verdict import Drop, Keep, Verdict
from stages.base import Recording
from stages.decode import PyavDecode
from stages.normalize import Bs1770Normalize
from stages.vad import SileroVad

CORPUS = Path(__file__).resolve().parents[2] / "jobs" / "demo" / "corpus"
EDGE_S = 0.2
"""How far a span's edge may lie from the reference: six windows of 32 ms."""
GRID_S = 0.01


@pytest.fixture(scope="module")
def vad() -> Iterator[SileroVad]:
    stage = SileroVad(SileroVad.Spec())
    stage.open()
    yield stage
    stage.close()


def heard(vad: SileroVad, name: str) -> tuple[Recording, Verdict]:
    path = str(CORPUS / name)
    values: dict[str, Any] = {"path": path}
    for stage in (PyavDecode(PyavDecode.Spec()), Bs1770Normalize(Bs1770Normalize.Spec())):
        verdict = stage.process(Recording("s", "r", path, values))
        assert isinstance(verdict, Keep)
        values.update(verdict.values)
    recording = Recording("s", "r", path, values)
    return recording, vad.process(recording)


def spans_s(verdict: Verdict) -> list[tuple[float, float]]:
    assert isinstance(verdict, Keep)
    spans: Any = verdict.values["speech"]
    return [(span.start_sample / 24_000, span.end_sample / 24_000) for span in spans]


def turns_s(name: str) -> list[tuple[float, float]]:
    rows = [line.split() for line in (CORPUS / name).read_text().splitlines()]
    return [(float(row[3]), float(row[3]) + float(row[4])) for row in rows]


def on_grid(
    spans: list[tuple[float, float]], length_s: float, widen_s: float
) -> npt.NDArray[np.bool_]:
    grid = np.zeros(round(length_s / GRID_S), bool)
    for start_s, end_s in spans:
        grid[max(0, round((start_s - widen_s) / GRID_S)) : round((end_s + widen_s) / GRID_S)] = True
    return grid


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("telephone.wav", "telephone.rttm"),
        ("panel.opus", "panel.rttm"),
        ("conversation.mp3", "conversation.rttm"),
        ("mandarin.m4a", "mandarin.rttm"),
    ],
)
def test_speech_is_found_where_the_reference_has_it(
    vad: SileroVad, name: str, reference: str
) -> None:
    recording, verdict = heard(vad, name)
    length_s = recording.audio.duration_s
    spans, turns = spans_s(verdict), turns_s(reference)
    found = on_grid(spans, length_s, 0.0)
    assert not (found & ~on_grid(turns, length_s, EDGE_S)).any()
    true = on_grid(turns, length_s, 0.0)
    assert (found & true).sum() / true.sum() > 0.93  # the rest are pauses within turns
    assert spans[0][0] == pytest.approx(turns[0][0], abs=EDGE_S)
    assert spans[-1][1] == pytest.approx(max(end_s for _, end_s in turns), abs=EDGE_S)
    edges = [0.0, *(edge for span in spans for edge in span), length_s]
    assert edges == sorted(edges)


def test_the_same_call_twice_gives_the_same_spans(vad: SileroVad) -> None:
    assert heard(vad, "telephone.wav")[1] == heard(vad, "telephone.wav")[1]


def test_silence_and_noise_are_dropped(vad: SileroVad) -> None:
    for name in ("silence.wav", "noise.wav"):
        _, verdict = heard(vad, name)
        assert isinstance(verdict, Drop), name
        assert verdict.reason == "no_speech"
    silence = heard(vad, "silence.wav")[0].values
    assert (silence["loudness_lufs"], silence["gain_db"]) == (None, 0.0)


def test_the_torn_recording_keeps_what_is_there_and_says_what_is_missing(vad: SileroVad) -> None:
    recording, verdict = heard(vad, "truncated.mp3")
    assert recording.values["decode_flags"] == ["TRUNCATED"]
    assert recording.values["decoded_s"] < recording.values["claimed_s"] / 2
    assert isinstance(verdict, Keep)


def test_the_text_under_an_audio_name_is_refused_by_name() -> None:
    path = str(CORPUS / "not-audio.wav")
    with pytest.raises(ItemError, match=r"not-audio\.wav looks like") as raised:
        PyavDecode(PyavDecode.Spec()).process(Recording("s", "r", path, {"path": path}))
    assert raised.value.error_class == "NOT_AUDIO"
