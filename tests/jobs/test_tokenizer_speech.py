"""The training speech: what is said, by which voices, and which recordings may be learned from."""

import csv
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from jobs.tokenizer_command import write_wav
from jobs.tokenizer_speech.make_speech import main, make_speech, make_utterance, plan
from jobs.tokenizer_speech.recordings import copy_recordings, quiet_cuts, why_not
from jobs.tokenizer_speech.rows import Row
from jobs.tokenizer_speech.texts import sentence, words
from jobs.tokenizer_speech.voices import Voice, all_voices, is_installed
from schemas.codes import Waveform
from schemas.errors import SpecError

VOICES = {voice.name: voice for voice in all_voices()}
LANGUAGES = sorted({voice.language for voice in VOICES.values()})
RATE_HZ = 8_000

MANIFEST = (  # path, licence, whether it may be learned from
    ("multi-speaker/a.wav", "MIT", True),
    ("multi-speaker/b.wav", "CC-BY-4.0 (AMI meeting corpus); repository MIT", True),
    ("multi-speaker/c.wav", "CC-BY-4.0 (C; copyright of the video stays with its owner)", False),
    ("multi-speaker/composed-dialogue-4spk.flac", "CC-BY-4.0 (LibriSpeech)", False),
    ("multi-speaker/leopard-3spk.wav", "Apache-2.0", False),
    ("other-languages/d.wav", "Apache-2.0 or MIT (both licence files)", True),
    ("other-languages/e.wav", "MIT or GPL-3.0", False),
    ("other-languages/f.wav", "MPL-2.0", False),
    ("other-languages/g.wav", "", False),
    ("long/h.wav", "public domain (NASA recording); repository AGPL-3.0", True),
    ("long/i.wav", "AGPL-3.0", False),
    ("long/j.wav", "MIT; parts from J (CC-BY-4.0 and public domain)", True),
    ("long/k.wav", "MIT; parts from K (CC-BY-NC-4.0)", False),
    ("noise/l.wav", "CC0-1.0 (as a README states)", True),
    ("noise/m.wav", "repository Apache-2.0; clip CC-BY-NC-3.0", False),
    ("noise/n.wav", "repository Apache-2.0", False),
    ("music/o.wav", "BSD-3-Clause", True),
    ("music/p.wav", "CC-BY-SA-4.0", False),
    ("music/q.wav", "unclear", False),
    ("speech-en/r.wav", "MIT", False),
    ("speech-zh/s.wav", "Apache-2.0", False),
    ("mixed-formats/t.wav", "CC0-1.0", False),
    ("quality-pairs/u.wav", "MIT", False),
    ("long/../speech-en/r.wav", "MIT", False),
    ("v.wav", "MIT", False),
)


def installed(name: str) -> Voice:
    voice = VOICES[name]
    if not is_installed(voice):
        pytest.skip(f"{voice.package} is not installed")
    return voice


def noise(seconds: float, seed: int = 0) -> Waveform:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    return (0.1 * samples).astype(np.float32)


def write_manifest(folder: Path, entries: list[tuple[str, str]]) -> None:
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "language", "transcript", "licence"])
        writer.writerows([path, "en", "hello there", licence] for path, licence in entries)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_drawn_from_the_lists_and_deterministic(language: str) -> None:
    listed = {word for part in words(language).values() for word in part}
    assert len(listed) >= 100
    first = [sentence(language, 3.0, np.random.default_rng(seed)) for seed in range(30)]
    assert first == [sentence(language, 3.0, np.random.default_rng(seed)) for seed in range(30)]
    assert len(set(first)) == 30
    assert all(text[-1] in ".?。？" and '"' not in text for text in first)
    if language not in {"en", "zh"}:
        spoken = {word for text in first for word in text.strip(".?").replace(",", "").split()}
        assert spoken <= listed


def test_longer_texts_for_longer_speech() -> None:
    random = np.random.default_rng(0)
    for language in LANGUAGES:
        short, long = (
            np.mean([len(sentence(language, seconds, random)) for _ in range(20)])
            for seconds in (1.5, 6.0)
        )
        assert long > 2.5 * short


def test_voices_are_many_have_licences_and_take_their_words() -> None:
    voices = all_voices()
    assert len(VOICES) == len(voices) > 250
    assert sum(voice.share for voice in voices) == pytest.approx(1.0)
    for voice in voices:
        assert voice.licence
        assert not {"NC", "ND"} & set(voice.licence.split("-"))
        for part in words(voice.language).values():
            " ".join(part).encode(voice.encoding)


def test_plan_is_deterministic_and_a_longer_one_keeps_the_shorter() -> None:
    voices = list(VOICES.values())
    short, long = plan(voices, 1.0, seed=3), plan(voices, 2.0, seed=3)
    assert short == plan(voices, 1.0, seed=3)
    assert set(short) < set(long)
    assert {one.seconds for one in short}.isdisjoint(
        one.seconds for one in plan(voices, 1.0, seed=4)
    )
    assert len({one.path for one in long}) == len(long)
    lengths_s = [one.seconds for one in long]
    assert min(lengths_s) >= 1.5
    assert max(lengths_s) <= 6.0
    assert np.mean(lengths_s) == pytest.approx(3.2, abs=0.2)


def test_engines_get_their_share_and_that_of_the_missing() -> None:
    for names, wanted in (
        (("flite", "festival", "espeak-ng"), 0.35),
        (("flite", "festival"), 0.54),
    ):
        planned = plan([voice for voice in VOICES.values() if voice.engine in names], 5.0, seed=0)
        flite_s = sum(one.seconds for one in planned if one.voice.engine == "flite")
        assert flite_s / sum(one.seconds for one in planned) == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize(
    "name", ["flite-kal16", "espeak-cmn-latn-pinyin+f3", "festival-czech_dita"]
)
def test_an_utterance_is_made_once_and_again_the_same(name: str, tmp_path: Path) -> None:
    voice = installed(name)
    utterance = plan([voice], 0.01, seed=0)[1]
    row = make_utterance(utterance, 0, tmp_path)
    assert isinstance(row, Row), row
    path = tmp_path / row.path
    assert path.with_suffix(".txt").read_text(encoding="utf-8") == row.text + "\n"
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert row.seconds == pytest.approx(file.getnframes() / file.getframerate(), abs=1e-3)
    assert 1.5 <= row.seconds <= 6.0
    made, before = path.read_bytes(), path.stat().st_mtime_ns
    assert make_utterance(utterance, 0, tmp_path) == row
    assert path.stat().st_mtime_ns == before
    path.with_suffix(".txt").unlink()  # as if stopped between the two files
    assert make_utterance(utterance, 0, tmp_path) == row
    assert path.read_bytes() == made
    assert sorted(one.suffix for one in path.parent.iterdir()) == [".txt", ".wav"]


def test_a_folder_is_listed_and_bound_to_its_seed(tmp_path: Path) -> None:
    voices = [installed("flite-slt")]
    absent = Voice(
        name="festival-nobody",
        engine="festival",
        identifier="nobody",
        language="en",
        licence="none",
        package="festvox-nobody",
        share=0.5,
    )
    rows, left_out = make_speech(tmp_path, [*voices, absent], 0.002, seed=1)
    with (tmp_path / "data.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [one["path"] for one in listed] == [row.path for row in rows]
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.wav")} == {
        row.path for row in rows
    }
    assert [(one.path, one.outcome) for one in left_out] == [("festival-nobody", "not installed")]
    again, _ = make_speech(tmp_path, voices, 0.002, seed=1)
    assert again == rows
    with pytest.raises(SpecError, match="seed 1"):
        make_speech(tmp_path, voices, 0.002, seed=2)
    with pytest.raises(SpecError, match="no voice is installed"):
        make_speech(tmp_path / "other", [absent], 0.002, seed=1)


def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--hours", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("path", "licence", "may"), MANIFEST)
def test_the_licence_and_the_place_decide(path: str, licence: str, may: bool) -> None:
    reason = why_not(path, licence)
    assert (reason is None) is may, reason


def test_every_row_of_a_manifest_gets_an_outcome(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    for path, _, _ in MANIFEST:
        write_wav(source / path, noise(1.0), RATE_HZ)
    (source / "long/h.wav").write_text("This is a text file.\n", encoding="utf-8")
    write_wav(source / "long/j.wav", np.concatenate([noise(9.0), 0 * noise(9.0)]), RATE_HZ)
    write_manifest(source, [(path, licence) for path, licence, _ in MANIFEST])
    rows, left_out = copy_recordings(source, out)
    silent = {one.path for one in left_out if one.reason == "silent"}
    assert silent == {"recordings/j-01.wav"}
    left_out = [one for one in left_out if one.path not in silent]
    assert {row.source for row in rows} | {one.path for one in left_out} == {
        path for path, _, _ in MANIFEST
    }
    assert {one.path for one in left_out if one.outcome == "failed"} == {"long/h.wav"}
    assert {row.source for row in rows} == {path for path, _, may in MANIFEST if may} - {
        "long/h.wav"
    }
    kinds = {row.source.split("/")[0]: (row.kind, row.path.split("/")[0]) for row in rows}
    assert kinds["noise"] == ("noise", "backgrounds")
    assert kinds["music"] == ("music", "backgrounds")
    assert kinds["long"] == ("speech", "recordings")
    for row in rows:
        with wave.open(str(out / row.path)) as file:
            assert file.getframerate() == RATE_HZ
            assert file.getnframes() / RATE_HZ == pytest.approx(row.seconds, abs=1e-3)
    assert {row.text for row in rows if row.source == "multi-speaker/a.wav"} == {"hello there"}
    assert {row.text for row in rows if row.source == "long/j.wav"} == {""}
    shutil.rmtree(source)
    with pytest.raises(SpecError, match=r"manifest\.csv"):
        copy_recordings(source, out)


def test_the_second_of_a_name_is_not_laid_over_the_first(tmp_path: Path) -> None:
    for path in ("long/a.wav", "multi-speaker/a.wav"):
        write_wav(tmp_path / path, noise(1.0), RATE_HZ)
    write_manifest(tmp_path, [("long/a.wav", "MIT"), ("multi-speaker/a.wav", "MIT")])
    rows, left_out = copy_recordings(tmp_path, tmp_path / "out")
    assert [row.source for row in rows] == ["long/a.wav"]
    assert [one.path for one in left_out] == ["multi-speaker/a.wav"]


def test_without_licences_nothing_is_copied(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,language\nlong/a.wav,en\n", encoding="utf-8")
    with pytest.raises(SpecError, match="licence"):
        copy_recordings(tmp_path, tmp_path / "out")


def test_cuts_fall_into_the_pauses_and_lose_nothing() -> None:
    samples = noise(24.0)
    for second in (8.5, 17.0):
        samples[round((second - 0.1) * RATE_HZ) : round((second + 0.1) * RATE_HZ)] *= 1e-3
    pieces = quiet_cuts(samples, RATE_HZ)
    assert np.array_equal(np.concatenate(pieces), samples)
    assert [len(piece) / RATE_HZ for piece in pieces] == pytest.approx([8.5, 8.5, 7.0], abs=0.1)
    assert len(quiet_cuts(noise(3.0), RATE_HZ)) == 1
