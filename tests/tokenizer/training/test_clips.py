"""`tokenizer/training/clips.py`: kept, dropped with a reason, failed with a cause."""

from pathlib import Path

import numpy as np
import pytest

from schemas.errors import TrainingError
from tokenizer.training.clips import ClipStore, ClipWriter

RATE_HZ = 24_000


def writer(folder: Path) -> ClipWriter:
    return ClipWriter(folder, RATE_HZ, silence_dbfs=-60.0, min_s=0.5)


def tone(seconds: float, level: float = 0.5) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32)


def test_every_file_has_an_outcome_and_kept_ones_come_back(tmp_path: Path) -> None:
    broken = tone(1.0)
    broken[7] = np.nan
    with writer(tmp_path / "clips") as clips:
        clips.add("first", tone(1.0), "one")
        clips.add("short", tone(0.1), None)
        clips.fail("text", "is no audio")
        clips.add("silent", tone(1.0, level=1e-4), None)
        clips.add("broken", broken, None)
        clips.add("last", tone(0.75, level=0.9), None)
    store = ClipStore(tmp_path / "clips")
    assert [(row.name, row.outcome) for row in store.rows] == [
        ("first", "kept"),
        ("short", "dropped"),
        ("text", "failed"),
        ("silent", "dropped"),
        ("broken", "failed"),
        ("last", "kept"),
    ]
    reasons = {row.name: row.reason for row in store.rows}
    assert "0.10 s, wanted 0.5 s" in reasons["short"]
    assert "silent: RMS -83 dBFS" in reasons["silent"]
    assert "not finite" in reasons["broken"]
    assert [clip.text for clip in store.clips] == ["one", None]
    np.testing.assert_allclose(store.waveform(1), tone(0.75, level=0.9), atol=2e-5)
    np.testing.assert_array_equal(store.waveform(1, 100, 50), store.waveform(1)[100:150])
    assert store.audio_s == pytest.approx(1.75)


def test_the_digest_follows_the_clips(tmp_path: Path) -> None:
    digests = set()
    for number, text in enumerate(["a", "b", "a"]):
        with writer(tmp_path / str(number)) as clips:
            clips.add("clip", tone(1.0), text)
        digests.add(ClipStore(tmp_path / str(number)).digest())
    assert len(digests) == 2


def test_a_folder_without_a_usable_file_says_why(tmp_path: Path) -> None:
    clips = writer(tmp_path / "clips").__enter__()
    clips.fail("a.wav", "the header is cut off")
    with pytest.raises(TrainingError, match=r"none of 1 .* a\.wav: the header is cut off"):
        clips.__exit__(None, None, None)
    assert not ClipStore.is_at(tmp_path / "clips")


def test_cut_off_while_writing_nothing_is_left_that_looks_whole(tmp_path: Path) -> None:
    def cut_off() -> None:
        with writer(tmp_path / "clips") as clips:
            clips.add("clip", tone(1.0), None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert not ClipStore.is_at(tmp_path / "clips")
    with pytest.raises(TrainingError, match="holds no prepared clips"):
        ClipStore(tmp_path / "clips")
