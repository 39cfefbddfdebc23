"""English words with times and a confidence that means something."""

from collections.abc import Iterator

import jiwer
import numpy as np
import pyarrow as pa
import pytest

from schemas.codes import Waveform
from schemas.segments import SEGMENTS
from schemas.verdict import Keep
from stages.asr.pocketsphinx import PocketsphinxAsr, PocketsphinxAsrSpec
from stages.base import Segment
from stages.registry import stage_class
from tests.stages.recorded import RATE_HZ, segment_of, shared_recording, spoken

SENTENCES = {
    "rms": "We will meet again on Monday morning at nine to discuss the new plan for the school.",
    "slt": "The quick brown fox jumps over the lazy dog.",
    "awb": "We will meet again on Monday morning at nine to discuss the new plan for the school.",
    "kal16": "We will meet again on Monday morning at nine to discuss the new plan.",
}


@pytest.fixture(scope="module")
def asr() -> Iterator[PocketsphinxAsr]:
    stage = PocketsphinxAsr(PocketsphinxAsrSpec())
    stage.open()
    yield stage
    stage.close()


def values_of(asr: PocketsphinxAsr, *segments: Segment) -> list[dict[str, object]]:
    verdicts = asr.process(segments)
    assert all(isinstance(verdict, Keep) for verdict in verdicts)
    return [dict(verdict.values) for verdict in verdicts]


def noise(seconds: float, seed: int = 0) -> Waveform:
    rng = np.random.default_rng(seed)
    bursts = np.repeat(rng.uniform(0, 0.3, round(seconds * 8)), RATE_HZ // 8)
    return (bursts * rng.standard_normal(len(bursts))).astype(np.float32)


@pytest.mark.parametrize("voice", SENTENCES)
def test_a_clean_synthetic_voice_is_understood(asr: PocketsphinxAsr, voice: str) -> None:
    (values,) = values_of(asr, segment_of(spoken(SENTENCES[voice], voice)))
    reference = SENTENCES[voice].lower().replace(".", "")
    assert jiwer.wer(reference, str(values["text"])) <= 0.1
    assert values["asr_language"] == "en"
    assert float(str(values["asr_confidence"])) > 0.5


def test_words_lie_on_the_timeline_of_the_recording(asr: PocketsphinxAsr) -> None:
    sentence = spoken("the old man went to the market square")
    second = np.zeros(RATE_HZ, np.float32)
    samples = np.concatenate([second, second, sentence, second])
    start, end = 2 * RATE_HZ, 2 * RATE_HZ + len(sentence)
    (values,) = values_of(asr, segment_of(samples, start_sample=start, end_sample=end))
    words = values["words"]
    assert isinstance(words, list)
    positions = [
        position for word in words for position in (word["start_sample"], word["end_sample"])
    ]
    assert positions == sorted(positions)
    assert start <= positions[0]
    assert positions[-1] <= end
    assert [word["word"] for word in words] == str(values["text"]).split()
    # Where a word is said to be there is sound; before the first there is little.
    spoken_power = np.mean(samples[positions[0] : positions[-1]] ** 2)
    before_power = np.mean(samples[start : max(positions[0], start + 1)] ** 2)
    assert before_power < 0.2 * spoken_power


def test_no_segment_changes_what_is_heard_in_another(asr: PocketsphinxAsr) -> None:
    loud, quiet = segment_of(noise(1.0)), segment_of(0.02 * noise(1.0, seed=1))
    long = segment_of(noise(2.0, seed=2))
    alone = [values_of(asr, segment)[0] for segment in (loud, quiet, long)]
    assert values_of(asr, loud, quiet, long) == alone
    assert values_of(asr, long, quiet, loud, quiet) == [*reversed(alone), alone[1]]


def test_no_utterance_changes_what_is_heard_in_another(asr: PocketsphinxAsr) -> None:
    one = segment_of(spoken("she put the letter on the table by the window", "rms"))
    two = segment_of(0.1 * spoken("a large crowd gathered in the market square", "awb"))
    first, second = values_of(asr, one, two)
    assert values_of(asr, two, one, two) == [second, first, second]


def test_silence_and_single_samples_give_no_words(asr: PocketsphinxAsr) -> None:
    silence = segment_of(np.zeros(RATE_HZ, np.float32))
    nothing = segment_of(np.zeros(10, np.float32))
    for values in values_of(asr, silence, nothing):
        assert values["text"] == ""
        assert values["words"] == []
        assert values["num_words"] == 0
        assert values["asr_confidence"] == 0.0


def test_noise_is_heard_with_less_confidence_than_speech(asr: PocketsphinxAsr) -> None:
    heard = values_of(
        asr,
        segment_of(spoken(SENTENCES["rms"])),
        segment_of(noise(2.0)),
        segment_of(noise(2.0, seed=5)),
    )
    speech, *noises = (float(str(values["asr_confidence"])) for values in heard)
    assert speech > max(noises) + 0.2


def test_english_is_heard_with_more_confidence_than_mandarin(asr: PocketsphinxAsr) -> None:
    english = ["austen-0870.wav", "speechbrain-spk1_snt1.wav", "librispeech-533-1066-0007.flac"]
    mandarin = ["aishell3-SSB00430378.wav", "aishell3-SSB00730374.wav", "aishell3-SSB01450004.wav"]
    heard = values_of(
        asr,
        *(segment_of(shared_recording(f"speech-en/{file}")) for file in english),
        *(segment_of(shared_recording(f"speech-zh/{file}")) for file in mandarin),
    )
    confidences = [float(str(values["asr_confidence"])) for values in heard]
    assert min(confidences[:3]) > max(confidences[3:])


def test_values_are_the_declared_columns(asr: PocketsphinxAsr) -> None:
    (values,) = values_of(asr, segment_of(noise(1.0)))
    assert values.keys() == PocketsphinxAsr.writes
    schema = pa.schema([SEGMENTS.schema().field(name) for name in values])
    row = pa.Table.from_pylist([values], schema=schema).to_pylist()[0]
    assert row == values
    assert 0.0 <= row["asr_confidence"] <= 1.0


def test_it_is_the_default_engine_and_names_its_model() -> None:
    assert stage_class("asr") is PocketsphinxAsr
    assert PocketsphinxAsr(PocketsphinxAsrSpec()).describe().split()[2] == "en-us"
