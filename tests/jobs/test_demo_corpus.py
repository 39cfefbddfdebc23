"""The demo corpus is what its README says, its references are exact, and it can be made again."""

import re
import wave
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pocketsphinx
import pytest
from scipy.signal import butter, sosfilt

from jobs.demo import make_corpus, script
from jobs.demo.encode import Encoding, write_audio
from jobs.demo.script import Line
from jobs.demo.sounds import music_bed, pink_noise, to_loudness
from jobs.demo.timeline import lay_out, speech_spans
from jobs.demo.voices import WORK_RATE_HZ, Audio, speak
from pipeline.references import ReferenceTurn, find_references

CORPUS = make_corpus.CORPUS
README = CORPUS.parent / "README.md"
MAX_BYTES = 4_000_000
SPOKEN = {
    "conversation.mp3": script.CONVERSATION,
    "conversation-copy.mp3": script.CONVERSATION,
    "conversation-reencoded.ogg": script.CONVERSATION,
    "panel.opus": script.PANEL,
    "narration-music.flac": script.NARRATION,
    "telephone.wav": script.CALL,
    "mandarin.m4a": script.MANDARIN,
}
UNSPOKEN = {"noise.wav", "silence.wav", "truncated.mp3", "not-audio.wav"}
MUSIC_BELOW_HZ = 2_000
"""The bed's highest partial is near 1.3 kHz: above this, only the narrator is heard."""


@dataclass(frozen=True)
class Decoded:
    codec: str
    rate_hz: int
    channels: int
    claimed_s: float
    mono: Audio

    @property
    def seconds(self) -> float:
        return len(self.mono) / self.rate_hz


@cache
def decoded(name: str) -> Decoded:
    return decode(CORPUS / name)


def decode(path: Path) -> Decoded:
    """What PyAV makes of a file; a torn last packet ends it."""
    to_mono = av.AudioResampler(format="fltp", layout="mono")
    pieces: list[Audio] = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        context = stream.codec_context
        assert container.duration is not None
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                break
            pieces += [piece.to_ndarray()[0] for f in frames for piece in to_mono.resample(f)]
        return Decoded(
            codec=context.codec.canonical_name,
            rate_hz=context.sample_rate,
            channels=context.layout.nb_channels,
            claimed_s=container.duration / 1e6,
            mono=np.concatenate(pieces).astype(np.float64),
        )


def turns_of(name: str) -> tuple[ReferenceTurn, ...]:
    uri = str(CORPUS / name)
    turns = find_references(CORPUS, [uri])[uri].turns
    assert turns is not None
    return turns


def readme_seconds() -> dict[str, str]:
    """File name to the seconds cell of the README's table."""
    rows = re.findall(r"^\| `([\w.-]+)` \| ([^|]*) \|", README.read_text(), re.MULTILINE)
    return {name: seconds.strip() for name, seconds in rows}


def test_corpus_holds_what_the_readme_lists_and_stays_small() -> None:
    files = {path.name: path.stat().st_size for path in CORPUS.iterdir()}
    references = {f"{Path(name).stem}.{kind}" for name in SPOKEN for kind in ("txt", "rttm", "stm")}
    assert set(files) == SPOKEN.keys() | UNSPOKEN | references
    assert readme_seconds().keys() == SPOKEN.keys() | UNSPOKEN
    assert sum(files.values()) <= MAX_BYTES


@pytest.mark.parametrize("name", sorted((SPOKEN.keys() | UNSPOKEN) - {"not-audio.wav"}))
def test_files_last_as_long_as_the_readme_says(name: str) -> None:
    assert decoded(name).seconds == pytest.approx(float(readme_seconds()[name]), abs=0.06)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "channels"),
    [
        ("conversation.mp3", "mp3", 44_100, 2),
        ("conversation-reencoded.ogg", "opus", 48_000, 1),
        ("panel.opus", "opus", 48_000, 1),
        ("narration-music.flac", "flac", 48_000, 1),
        ("telephone.wav", "pcm_mulaw", 8_000, 1),
        ("mandarin.m4a", "aac", 44_100, 1),
        ("noise.wav", "pcm_s16le", 16_000, 1),
        ("silence.wav", "pcm_s16le", 8_000, 1),
        ("truncated.mp3", "mp3", 22_050, 1),
    ],
)
def test_formats_are_as_various_as_promised(
    name: str, codec: str, rate_hz: int, channels: int
) -> None:
    audio = decoded(name)
    assert (audio.codec, audio.rate_hz, audio.channels) == (codec, rate_hz, channels)


def test_flac_holds_24_bits() -> None:
    data = (CORPUS / "narration-music.flac").read_bytes()
    # STREAMINFO begins 8 bytes in; its 13th and 14th byte hold the depth less one, in five bits.
    word = int.from_bytes(data[8 + 12 : 8 + 14], "big")
    assert (word >> 4 & 0b11111) + 1 == 24


def test_copy_is_exact_and_reencoding_is_the_same_sound_in_other_bytes() -> None:
    original = (CORPUS / "conversation.mp3").read_bytes()
    assert (CORPUS / "conversation-copy.mp3").read_bytes() == original

    def loudness_curve(name: str) -> Audio:
        audio = decoded(name)
        hop = audio.rate_hz // 20
        num_hops = len(audio.mono) // hop
        curve: Audio = np.sqrt(
            np.mean(audio.mono[: num_hops * hop].reshape(num_hops, hop) ** 2, axis=1)
        )
        return curve

    first, second = loudness_curve("conversation.mp3"), loudness_curve("conversation-reencoded.ogg")
    length = min(len(first), len(second))
    assert np.corrcoef(first[:length], second[:length])[0, 1] > 0.99
    assert 20 * np.log10(second.mean() / first.mean()) < -3.0


def test_truncated_file_claims_more_than_it_holds() -> None:
    torn = decoded("truncated.mp3")
    assert torn.claimed_s > 2 * torn.seconds
    assert torn.seconds > 3.0


def test_malformed_and_empty_files_are_what_their_names_say() -> None:
    assert "text file" in (CORPUS / "not-audio.wav").read_text()
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(CORPUS / "not-audio.wav"))
    assert not decoded("silence.wav").mono.any()
    assert np.sqrt(np.mean(decoded("noise.wav").mono ** 2)) > 0.01


@pytest.mark.parametrize("name", sorted(SPOKEN))
def test_transcript_is_the_script_and_the_turns_add_up_to_it(name: str) -> None:
    recording = Path(name).stem
    uri = str(CORPUS / name)
    reference = find_references(CORPUS, [uri])[uri]
    assert reference.transcript is not None
    assert reference.transcript.splitlines() == [line.text for line in SPOKEN[name]]

    rows = [row.split(None, 6) for row in (CORPUS / f"{recording}.stm").read_text().splitlines()]
    assert {row[0] for row in rows} == {recording}
    assert [(row[2], row[6]) for row in rows] == [(line.voice, line.text) for line in SPOKEN[name]]
    for row in rows:
        inside = [
            turn
            for turn in turns_of(name)
            if turn.speaker == row[2] and float(row[3]) <= turn.start_s < float(row[4])
        ]
        assert inside[0].start_s == pytest.approx(float(row[3]), abs=0.002)
        assert inside[-1].end_s == pytest.approx(float(row[4]), abs=0.002)


@pytest.mark.parametrize("name", sorted(SPOKEN))
def test_turn_borders_are_where_the_sound_changes(name: str) -> None:
    audio = decoded(name)
    samples = audio.mono
    if name == "narration-music.flac":
        sections = butter(8, MUSIC_BELOW_HZ, "highpass", fs=audio.rate_hz, output="sos")
        samples = sosfilt(sections, samples)
    hop = audio.rate_hz // 100
    num_hops = len(samples) // hop
    power = np.mean(samples[: num_hops * hop].reshape(num_hops, hop) ** 2, axis=1)
    loud = 10 * np.log10(power + 1e-12) > 10 * np.log10(np.percentile(power, 95)) - 30
    turns = turns_of(name)
    num_checked = 0
    for turn in turns:
        others = [other for other in turns if other is not turn]
        for border_s, is_start in ((turn.start_s, True), (turn.end_s, False)):
            if any(other.start_s - 0.3 < border_s < other.end_s + 0.3 for other in others):
                continue  # somebody else speaks there: the sound does not change
            near = loud[round(border_s * 100) - 30 : round(border_s * 100) + 30]
            heard = np.flatnonzero(near)[0 if is_start else -1] + (0 if is_start else 1)
            assert abs(heard - 30) <= 6, f"{border_s} s is {(heard - 30) * 10} ms off"
            num_checked += 1
    assert num_checked >= 2


def test_pauses_between_the_turns_of_the_conversation_are_natural() -> None:
    turns = turns_of("conversation.mp3")
    pauses_s = [b.start_s - a.end_s for a, b in pairwise(turns)]
    assert {turn.speaker for turn in turns} == {"slt", "rms"}
    assert min(pauses_s) > 0.3 - 1e-6
    assert max(pauses_s) < 0.8 + 1e-6


def test_panel_has_four_voices_and_overlaps() -> None:
    turns = turns_of("panel.opus")
    assert {turn.speaker for turn in turns} == {"awb", "slt", "kal16", "rms"}
    shared_s = [a.end_s - b.start_s for a, b in pairwise(turns)]
    overlaps_s = [seconds for seconds in shared_s if seconds > 0]
    assert len(overlaps_s) == 2
    assert all(0.6 <= seconds <= 1.2 for seconds in overlaps_s)


def test_telephone_carries_only_the_telephone_band() -> None:
    audio = decoded("telephone.wav")
    spectrum = np.abs(np.fft.rfft(audio.mono)) ** 2
    hertz = np.fft.rfftfreq(len(audio.mono), 1 / audio.rate_hz)
    outside = spectrum[(hertz < 250) | (hertz > 3_500)].sum()
    assert 10 * np.log10(outside / spectrum.sum()) < -30


def test_recogniser_has_every_english_word_in_its_dictionary() -> None:
    dictionary = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    known = {row.split(" ", 1)[0] for row in dictionary.read_text().splitlines()}
    english = (script.CONVERSATION, script.PANEL, script.NARRATION, script.CALL)
    words = {
        word
        for lines in english
        for line in lines
        for word in re.findall(r"[a-z']+", line.text.lower())
    }
    assert words <= known


def tone(seconds: float, *, lead_s: float = 0.0, tail_s: float = 0.0) -> Audio:
    body = 0.1 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * WORK_RATE_HZ)) / WORK_RATE_HZ)
    silences = [np.zeros(round(silent_s * WORK_RATE_HZ)) for silent_s in (lead_s, tail_s)]
    return np.concatenate([silences[0], body, silences[1]])


def test_only_long_pauses_split_a_turn() -> None:
    audio = np.concatenate([tone(1.0, lead_s=0.2, tail_s=0.4), tone(1.0, tail_s=0.7), tone(1.0)])
    spans_s = [(a / WORK_RATE_HZ, b / WORK_RATE_HZ) for a, b in speech_spans(audio)]
    assert spans_s == [pytest.approx((0.2, 2.6), abs=0.01), pytest.approx((3.3, 4.3), abs=0.01)]


def test_silence_is_no_utterance() -> None:
    with pytest.raises(ValueError, match="no speech"):
        speech_spans(np.zeros(WORK_RATE_HZ))


def test_gaps_count_from_speech_to_speech_and_may_be_negative() -> None:
    lines = [Line("a", "one", 0.6), Line("b", "two", 0.5), Line("a", "three", -0.7)]
    timeline = lay_out(lines, lambda line: tone(2.0, lead_s=0.3, tail_s=0.2), tail_s=0.4)
    starts_s = [turn.start_sample / WORK_RATE_HZ for turn in timeline.turns]
    assert starts_s == pytest.approx([0.6, 3.1, 4.4], abs=0.01)
    assert len(timeline.mono()) / WORK_RATE_HZ == pytest.approx(6.8, abs=0.02)
    assert timeline.tracks.keys() == {"a", "b"}


def test_sounds_follow_their_seed_and_levels_their_target() -> None:
    num_samples = 2 * WORK_RATE_HZ
    for sound in (pink_noise, music_bed):
        assert np.array_equal(sound(num_samples, 1), sound(num_samples, 1))
        assert not np.array_equal(sound(num_samples, 1), sound(num_samples, 2))
        assert np.sqrt(np.mean(sound(num_samples, 1) ** 2)) == pytest.approx(1.0)
    quiet = to_loudness(tone(2.0), WORK_RATE_HZ, -40.0)
    louder = to_loudness(tone(2.0), WORK_RATE_HZ, -30.0)
    assert np.max(louder) / np.max(quiet) == pytest.approx(10**0.5, rel=1e-3)
    with pytest.raises(ValueError, match="peak"):
        to_loudness(tone(2.0), WORK_RATE_HZ, 3.0)


@pytest.mark.parametrize(
    "encoding",
    [
        make_corpus.MP3,
        make_corpus.OPUS,
        make_corpus.FLAC_24,
        make_corpus.MU_LAW,
        make_corpus.AAC,
        make_corpus.SMALL_OPUS,
    ],
    ids=lambda encoding: f"{encoding.codec}-{encoding.sample_rate_hz}",
)
def test_every_encoder_keeps_the_time_and_repeats_its_bytes(
    tmp_path: Path, encoding: Encoding
) -> None:
    audio = tone(0.7, lead_s=0.5, tail_s=0.3)
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        write_audio(path, audio, WORK_RATE_HZ, encoding)
    assert first.read_bytes() == second.read_bytes()
    heard = decode(first)
    loud = np.flatnonzero(np.abs(heard.mono) > 0.05)
    assert loud[0] / heard.rate_hz == pytest.approx(0.5, abs=0.01)
    assert loud[-1] / heard.rate_hz == pytest.approx(1.2, abs=0.01)


def test_a_codec_that_is_not_for_audio_is_refused(tmp_path: Path) -> None:
    encoding = Encoding(
        container="mp4", codec="mjpeg", sample_rate_hz=48_000, sample_format="yuvj420p"
    )
    with pytest.raises(ValueError, match="no audio codec"):
        write_audio(tmp_path / "x.mp4", tone(0.1), WORK_RATE_HZ, encoding)


def test_missing_synthesisers_are_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make_corpus.main(["--out", str(tmp_path / "corpus")]) == 2
    message = capsys.readouterr().err
    assert "flite, espeak-ng, sox not found" in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "corpus").exists()


def test_speech_is_taken_from_the_synthesiser_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for flite that answers with a prepared 16-kHz file."""
    prepared = tmp_path / "prepared.wav"
    with wave.open(str(prepared), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes((tone(1.0)[::3] * 32767).astype("<i2").tobytes())
    flite = tmp_path / "flite"
    flite.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\n/bin/cp {prepared} "$2"\n')
    flite.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    spoken = speak(Line("slt", "anything"))
    assert len(spoken) == WORK_RATE_HZ
    assert np.max(np.abs(spoken - tone(1.0))[500:-500]) < 1e-3
