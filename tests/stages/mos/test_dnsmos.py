"""DNSMOS scores, against the package whose models they come from."""

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from schemas.codes import Waveform
from schemas.errors import EngineMissingError
from schemas.segments import SEGMENTS
from schemas.verdict import Keep
from stages.base import Segment
from stages.mos import dnsmos as dnsmos_module
from stages.mos.dnsmos import WINDOW_SAMPLES, Dnsmos, DnsmosSpec, fill_window, window_starts
from stages.mos.p808_mel import RATE_HZ
from stages.registry import stage_class
from tests.stages.recorded import segment_of, shared_recording, speech_like

COLUMNS = {
    "dnsmos_sig": "sig_mos",
    "dnsmos_bak": "bak_mos",
    "dnsmos_ovrl": "ovrl_mos",
    "dnsmos_p808": "p808_mos",
}


def opened(hop_s: float = 9.01) -> Dnsmos:
    stage = Dnsmos(DnsmosSpec(hop_s=hop_s))
    stage.open()
    return stage


@pytest.fixture(scope="module")
def dnsmos() -> Iterator[Dnsmos]:
    stage = opened()
    yield stage
    stage.close()


def scores_of(stage: Dnsmos, *segments: Segment) -> list[dict[str, float]]:
    verdicts = stage.process(segments)
    assert all(isinstance(verdict, Keep) for verdict in verdicts)
    return [{name: float(str(v)) for name, v in verdict.values.items()} for verdict in verdicts]


def speechmos_scores(segment: Segment) -> dict[str, float]:
    package = pytest.importorskip("speechmos.dnsmos")
    result = package.run(segment.waveform(RATE_HZ).copy(), RATE_HZ)
    return {ours: float(result[theirs]) for ours, theirs in COLUMNS.items()}


@pytest.mark.parametrize("seconds", [5.0, 11.0])
def test_scores_at_a_hop_of_one_second_equal_speechmos(seconds: float) -> None:
    # At these lengths speechmos looks at the same windows: one that is filled up, and two.
    segment = segment_of(speech_like(seconds))
    (ours,) = scores_of(opened(hop_s=1.0), segment)
    theirs = speechmos_scores(segment)
    assert ours.keys() == COLUMNS.keys()
    for column, score in ours.items():
        assert score == pytest.approx(theirs[column], abs=0.02)


def test_clean_speech_scores_above_the_same_speech_in_noise(dnsmos: Dnsmos) -> None:
    clean, noisy = scores_of(
        dnsmos,
        segment_of(shared_recording("quality-pairs/pesq-clean.wav")),
        segment_of(shared_recording("quality-pairs/pesq-babble-0db.wav")),
    )
    assert all(clean[column] > noisy[column] + 0.3 for column in COLUMNS)


def test_background_score_falls_as_noise_rises(dnsmos: Dnsmos) -> None:
    speech = speech_like(4.0)
    noise = np.random.default_rng(1).standard_normal(len(speech)).astype(np.float32)
    levels = (0.0005, 0.005, 0.05)
    scores = scores_of(dnsmos, *(segment_of(speech + level * noise) for level in levels))
    backgrounds = [score["dnsmos_bak"] for score in scores]
    assert backgrounds == sorted(backgrounds, reverse=True)
    assert backgrounds[0] > backgrounds[-1] + 0.5


def test_scores_depend_on_neither_company_nor_order(dnsmos: Dnsmos) -> None:
    short, long = segment_of(speech_like(2.0)), segment_of(speech_like(10.5, seed=3))
    alone = [scores_of(dnsmos, short)[0], scores_of(dnsmos, long)[0]]
    assert scores_of(dnsmos, long, short) == alone[::-1]


def test_a_segment_of_a_recording_scores_as_the_same_samples_alone(dnsmos: Dnsmos) -> None:
    samples = speech_like(4.0)
    inside, alone = scores_of(
        dnsmos,
        segment_of(samples, start_sample=24_000, end_sample=72_000),
        segment_of(samples[24_000:72_000]),
    )
    for column in COLUMNS:  # only the resampler's edges differ
        assert inside[column] == pytest.approx(alone[column], abs=0.05)


def test_scores_are_columns_and_stay_on_their_scale(dnsmos: Dnsmos) -> None:
    assert {*COLUMNS} == Dnsmos.writes <= SEGMENTS.column_names
    silence = segment_of(np.zeros(24_000, np.float32))
    too_loud = segment_of((3 * speech_like(1.0) / 0.05).astype(np.float32))
    for scores in scores_of(dnsmos, silence, too_loud):
        assert all(0.5 <= score <= 5.0 for score in scores.values())


@pytest.mark.parametrize(
    ("seconds", "hop_s", "starts_s"),
    [
        (9.01, 9.01, [0]),
        (9.9, 9.01, [0]),  # a rest of 0.89 s is left out
        (10.5, 9.01, [0, 1.49]),
        (18.02, 9.01, [0, 9.01]),
        (30.0, 9.01, [0, 9.01, 18.02, 20.99]),
        (12.0, 1.0, [0, 1, 2]),
    ],
)
def test_windows_cover_the_segment(seconds: float, hop_s: float, starts_s: list[float]) -> None:
    starts = window_starts(round(seconds * RATE_HZ), round(hop_s * RATE_HZ))
    assert starts == [round(start_s * RATE_HZ) for start_s in starts_s]


@pytest.mark.parametrize("num_samples", [0, 1, 1000, WINDOW_SAMPLES - 1, WINDOW_SAMPLES + 5])
def test_short_segments_are_repeated_and_long_ones_left_alone(num_samples: int) -> None:
    samples: Waveform = np.arange(num_samples, dtype=np.float32)
    filled = fill_window(samples)
    assert len(filled) == max(num_samples, WINDOW_SAMPLES)
    if num_samples:
        np.testing.assert_array_equal(filled, np.arange(len(filled)) % num_samples)


def test_a_missing_package_is_named_on_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dnsmos_module, "find_spec", lambda name: None)
    with pytest.raises(EngineMissingError, match="speechmos"):
        Dnsmos(DnsmosSpec())


def test_a_hop_beyond_the_window_is_refused() -> None:
    with pytest.raises(ValidationError, match="hop_s"):
        DnsmosSpec(hop_s=10.0)


def test_it_is_the_default_engine_and_travels_to_a_worker() -> None:
    assert stage_class("mos") is Dnsmos
    stage = pickle.loads(pickle.dumps(Dnsmos(DnsmosSpec())))
    assert stage.fingerprint() == Dnsmos(DnsmosSpec()).fingerprint()
    assert stage.fingerprint() != Dnsmos(DnsmosSpec(hop_s=1.0)).fingerprint()
