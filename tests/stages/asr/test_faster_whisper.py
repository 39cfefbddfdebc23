"""Whisper transcripts through the real engine, with a tiny random model made on the spot."""

import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from faster_whisper import BatchedInferencePipeline, WhisperModel

from schemas.errors import EngineMissingError, SpecError
from schemas.segments import SEGMENTS
from schemas.spans import Span
from schemas.verdict import Keep
from stages.asr.faster_whisper import FasterWhisperAsr, FasterWhisperAsrSpec
from stages.asr.whisper_decoder import DecoderSettings, Decoding, WhisperDecoder
from stages.asr.whisper_windows import RATE_HZ, whisper_features
from stages.base import Segment
from stages.registry import stage_class
from tests.stages.asr.tiny_whisper import LANGUAGES, build_tiny_whisper
from tests.stages.recorded import RATE_HZ as TIMELINE_HZ
from tests.stages.recorded import segment_of, speech_like

LENIENT: dict[str, Any] = {
    "beam_size": 2,
    "max_compression_ratio": 1000.0,
    "min_avg_logprob": -1000.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_whisper(tmp_path_factory.mktemp("whisper"))


def opened(folder: Path, **parameters: Any) -> FasterWhisperAsr:
    stage = FasterWhisperAsr(FasterWhisperAsrSpec(model=str(folder), **parameters))
    stage.open()
    return stage


@pytest.fixture(scope="module")
def asr(folder: Path) -> Iterator[FasterWhisperAsr]:
    stage = opened(folder, **LENIENT)
    yield stage
    stage.close()


def spoken_segment(seconds: float, seed: int, **cut: Any) -> Segment:
    samples = speech_like(seconds, seed)
    return segment_of(samples, speech=[Span(0, len(samples))], **cut)


def values_of(stage: FasterWhisperAsr, *segments: Segment) -> list[dict[str, Any]]:
    verdicts = stage.process(segments)
    assert all(isinstance(verdict, Keep) for verdict in verdicts)
    return [dict(verdict.values) for verdict in verdicts]


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Equal up to the rounding of sums, which batches of another size do in another order."""
    for name, value in one.items():
        if isinstance(value, float):
            assert other[name] == pytest.approx(value, abs=1e-4), name
        elif name != "words":
            assert other[name] == value, name
    places = ("word", "start_sample", "end_sample")
    assert [[w[p] for p in places] for w in one["words"]] == [
        [w[p] for p in places] for w in other["words"]
    ]


def first_pass(folder: Path, segment: Segment, language: str) -> Decoding:
    decoder = WhisperDecoder(WhisperModel(str(folder), cpu_threads=1), beam_size=2)
    features = whisper_features(segment.waveform(RATE_HZ), decoder.extractor)
    return decoder.decode(decoder.encode(features[None]), [language], DecoderSettings())[0]


def test_the_first_pass_equals_faster_whispers_own_pipeline(folder: Path) -> None:
    segment = spoken_segment(3.0, seed=4)
    audio = segment.waveform(RATE_HZ)
    pipeline = BatchedInferencePipeline(WhisperModel(str(folder), cpu_threads=1))
    expected, _ = pipeline.transcribe(
        np.pad(audio, (0, 30 * RATE_HZ - len(audio))),
        language="de",
        beam_size=2,
        vad_filter=False,
        clip_timestamps=[{"start": 0, "end": 30}],
        without_timestamps=True,
        suppress_tokens=None,
    )
    (theirs,) = list(expected)
    ours = first_pass(folder, segment, "de")
    assert ours.text == theirs.text.strip() != ""
    assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-3)
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-4)


def test_a_segment_reads_the_same_in_any_company_and_order(asr: FasterWhisperAsr) -> None:
    segments = [spoken_segment(seconds, seed) for seed, seconds in enumerate((2.0, 7.0, 4.0))]
    alone = [values_of(asr, segment)[0] for segment in segments]
    for values, expected in zip(values_of(asr, *segments), alone, strict=True):
        assert_same(values, expected)
    for values, expected in zip(values_of(asr, *reversed(segments)), alone[::-1], strict=True):
        assert_same(values, expected)


def test_values_are_the_declared_columns(asr: FasterWhisperAsr) -> None:
    (values,) = values_of(asr, spoken_segment(3.0, seed=1))
    assert values.keys() == FasterWhisperAsr.writes
    schema = pa.schema([SEGMENTS.schema().field(name) for name in values])
    assert pa.Table.from_pylist([values], schema=schema).to_pylist() == [values]
    assert values["language"] in LANGUAGES
    assert values["asr_language"] == values["language"]
    assert 0.0 < values["language_probability"] <= 1.0
    assert values["asr_confidence"] == pytest.approx(np.exp(values["asr_avg_logprob"]))
    assert 0.0 <= values["asr_no_speech_prob"] <= 1.0


def test_words_lie_within_the_segment_on_the_recordings_timeline(asr: FasterWhisperAsr) -> None:
    start, end = 3 * TIMELINE_HZ, 7 * TIMELINE_HZ
    (values,) = values_of(asr, spoken_segment(9.0, seed=2, start_sample=start, end_sample=end))
    assert values["words"]
    for word in values["words"]:
        assert start <= word["start_sample"] <= word["end_sample"] <= end
        assert 0.0 <= word["confidence"] <= 1.0
    starts = [word["start_sample"] for word in values["words"]]
    assert starts == sorted(starts)
    said = "".join(word["word"] for word in values["words"])
    assert said.replace(" ", "") == values["text"].replace(" ", "")


def test_a_language_of_the_spec_is_transcribed_in_and_not_called_detected(folder: Path) -> None:
    (values,) = values_of(opened(folder, language="zh", **LENIENT), spoken_segment(2.0, seed=3))
    assert values["asr_language"] == "zh"
    assert values["language"] is None
    assert values["language_probability"] is None


def test_unsure_segments_are_judged_with_their_recording(folder: Path) -> None:
    segment = spoken_segment(20.0, seed=5, start_sample=0, end_sample=TIMELINE_HZ)
    (alone,) = values_of(opened(folder, language_windows=0, **LENIENT), segment)
    (together,) = values_of(opened(folder, language_windows=3, **LENIENT), segment)
    assert alone["language_probability"] < 0.8
    assert together["language_probability"] != pytest.approx(alone["language_probability"])


def test_what_trips_a_guard_is_decoded_again_and_the_likelier_text_stays(folder: Path) -> None:
    # A random model is never likely enough for this threshold, in whatever pass.
    stage = opened(folder, **{**LENIENT, "language": "de", "min_avg_logprob": -0.01})
    segments = [spoken_segment(3.0, seed) for seed in range(4)]
    firsts = [first_pass(folder, segment, "de") for segment in segments]
    for first, chosen in zip(firsts, values_of(stage, *segments), strict=True):
        assert "low_logprob" in chosen["asr_flags"]
        assert chosen["asr_avg_logprob"] >= first.avg_logprob - 1e-4
    assert any(
        first.text != chosen["text"]
        for first, chosen in zip(firsts, values_of(stage, *segments), strict=True)
    )


def test_what_passes_as_silence_is_not_decoded_again(folder: Path) -> None:
    guards = {"language": "de", "min_avg_logprob": -0.01, "max_no_speech_prob": 0.0}
    segment = spoken_segment(3.0, seed=0)
    (values,) = values_of(opened(folder, **{**LENIENT, **guards}), segment)
    assert {"low_logprob", "no_speech"} <= set(values["asr_flags"])
    assert values["text"] == first_pass(folder, segment, "de").text


def test_repetition_is_flagged(folder: Path) -> None:
    (values,) = values_of(
        opened(folder, **{**LENIENT, "max_compression_ratio": 0.01}), spoken_segment(2.0, seed=0)
    )
    assert "repetitive" in values["asr_flags"]
    assert values["asr_flags"] == sorted(values["asr_flags"])
    assert values["asr_compression_ratio"] > 0.01


def test_a_segment_over_thirty_seconds_is_read_in_windows(asr: FasterWhisperAsr) -> None:
    (values,) = values_of(asr, spoken_segment(40.0, seed=6))
    half = 20 * TIMELINE_HZ
    assert {word["start_sample"] >= half for word in values["words"]} == {False, True}


def test_no_connection_is_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"a connection to {args} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert values_of(opened(folder, **LENIENT), spoken_segment(2.0, seed=7))[0]["text"]


def test_an_incomplete_folder_is_refused_on_the_driver(tmp_path: Path) -> None:
    with pytest.raises(EngineMissingError, match=r"model\.bin"):
        FasterWhisperAsr(FasterWhisperAsrSpec(model=str(tmp_path)))


def test_an_unknown_language_is_refused(folder: Path) -> None:
    with pytest.raises(SpecError, match="'xx'"):
        opened(folder, language="xx")


def test_a_missing_gpu_is_named(folder: Path) -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count() > 0:
        pytest.skip("there is a GPU here")
    stage = FasterWhisperAsr(FasterWhisperAsrSpec(model=str(folder), device="cuda"))
    assert stage.resources().kind == "gpu"
    with pytest.raises(EngineMissingError, match="no GPU"):
        stage.open()


def test_it_travels_to_a_worker_and_names_its_model(folder: Path) -> None:
    assert stage_class("asr", "faster-whisper") is FasterWhisperAsr
    stage = FasterWhisperAsr(FasterWhisperAsrSpec(model=str(folder)))
    copy = pickle.loads(pickle.dumps(stage))
    assert copy.describe() == stage.describe()
    assert folder.name in stage.describe()
    assert stage.resources().kind == "cpu"
