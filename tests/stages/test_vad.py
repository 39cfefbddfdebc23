"""Voice activity: real speech and real silence, through the real model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from schemas.errors import ItemError
from schemas.spans import Span
from schemas.verdict import Drop, Keep
from stages.audio import Audio
from stages.base import Recording
from stages.vad import SileroVad
from tests.stages.media_files import Samples
from tests.stages.recorded import shared_recording, spoken

RATE_HZ = 24_000
TEXT = "the quick brown fox jumps over the lazy dog"


@pytest.fixture(scope="module")
def vad() -> Iterator[SileroVad]:
    stage = SileroVad(SileroVad.Spec())
    stage.open()
    yield stage
    stage.close()


def recording(samples: Samples) -> Recording:
    audio = Audio(samples.astype(np.float32), RATE_HZ)
    return Recording("s", "r", "u", {"audio": audio})


def speech(vad: SileroVad, samples: Samples) -> list[Span]:
    verdict = vad.process(recording(samples))
    assert isinstance(verdict, Keep)
    spans: Any = verdict.values["speech"]
    total_s = sum(span.num_samples for span in spans) / RATE_HZ
    assert verdict.values["speech_s"] == pytest.approx(total_s)
    return list(spans)


def between_silences() -> Samples:
    quiet = np.zeros(2 * RATE_HZ, np.float32)
    return np.concatenate([quiet, spoken(TEXT), quiet])


def test_speech_is_found_where_it_lies(vad: SileroVad) -> None:
    samples = between_silences()
    spans = speech(vad, samples)
    assert spans[0].start_sample == pytest.approx(2 * RATE_HZ, abs=0.3 * RATE_HZ)
    assert spans[-1].end_sample == pytest.approx(len(samples) - 2 * RATE_HZ, abs=0.4 * RATE_HZ)
    ends = [sample for span in spans for sample in (span.start_sample, span.end_sample)]
    assert ends == sorted(ends)


@pytest.mark.parametrize("samples", [np.zeros(48_000), np.zeros(10), np.zeros(1)])
def test_no_speech_is_a_drop_with_the_seconds_that_decided(
    vad: SileroVad, samples: Samples
) -> None:
    verdict = vad.process(recording(samples))
    assert verdict == Drop("no_speech", measured=0.0, limit=0.5, values={"speech_s": 0.0})


def test_music_and_noise_are_not_speech(vad: SileroVad) -> None:
    for path in ("music/bach.mp3", "noise/speechbrain-noise4.wav"):
        assert isinstance(vad.process(recording(shared_recording(path))), Drop)


def test_a_real_speaker_is_heard(vad: SileroVad) -> None:
    spans = speech(vad, shared_recording("speech-en/LJ001-0001.wav"))
    assert sum(span.num_samples for span in spans) / RATE_HZ == pytest.approx(9.0, abs=0.7)


def test_too_little_speech_is_dropped_with_what_there_was() -> None:
    stage = SileroVad(SileroVad.Spec(min_total_speech_s=10.0))
    stage.open()
    verdict = stage.process(recording(between_silences()))
    assert isinstance(verdict, Drop)
    assert verdict.measured is not None
    assert 1.5 < verdict.measured < 4
    assert verdict.limit == 10.0


def test_a_nan_is_an_error_and_not_silence(vad: SileroVad) -> None:
    samples = between_silences()
    samples[60_000:60_010] = np.nan
    with pytest.raises(ItemError) as raised:
        vad.process(recording(samples))
    assert raised.value.error_class == "NONFINITE"


def test_one_model_serves_threads_and_repeats_with_equal_values(vad: SileroVad) -> None:
    samples = between_silences()
    others = [samples, samples[RATE_HZ:], samples[2 * RATE_HZ :]] * 4
    alone = [speech(vad, each) for each in others]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda each: speech(vad, each), others)) == alone


def test_opening_leaves_the_number_of_torch_threads_alone() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        SileroVad(SileroVad.Spec()).open()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "wrong",
    [{"min_speech_ms": 1}, {"min_silence_ms": 0}, {"min_total_speech_s": 500}, {"threshold": 50}],
)
def test_a_parameter_in_another_unit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SileroVad.Spec(**wrong)
