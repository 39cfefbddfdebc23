"""Codes on disk and back: files, folders and rows of shards."""

import wave
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from jobs.cli import main
from jobs.tokenizer_command import write_wav
from jobs.tokenizers import open_tokenizer
from pipeline.shards import ShardPlan, write_shard
from schemas.job import TokenizeSpec
from tests.pipeline.test_shards import make_row

RATE_HZ = 24_000


def tone(seconds: float, pitch_hz: float = 220.0) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32)


def num_samples(path: Path) -> int:
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE_HZ
        return file.getnframes()


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    write_wav(folder / "a.wav", tone(1.0), RATE_HZ)
    write_wav(folder / "deep" / "b.wav", tone(0.5, 440.0), RATE_HZ)
    return folder


def test_a_folder_goes_to_codes_and_back_under_its_own_names(
    recordings: Path, tmp_path: Path
) -> None:
    assert main(["tokenizer", "encode", str(recordings), "-o", str(tmp_path / "codes")]) == 0
    codes = load_file(tmp_path / "codes" / "deep" / "b.wav.codes.safetensors")["codes"]
    assert codes.shape == (13, 8)
    assert codes.dtype == np.uint16
    assert main(["tokenizer", "decode", str(tmp_path / "codes"), "-o", str(tmp_path / "out")]) == 0
    assert num_samples(tmp_path / "out" / "deep" / "b.wav.wav") == 13 * 960


def test_a_row_of_a_shard_decodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = open_tokenizer(TokenizeSpec())
    codes = tokenizer.encode_numpy([tone(s) for s in (0.5, 1.0, 2.0)], 8)
    plan = ShardPlan("shard", tuple(make_row(0, index) for index in range(3)))
    shard = write_shard(
        plan,
        codes,
        tmp_path,
        epoch=0,
        fingerprint=tokenizer.fingerprint(),
        num_codebooks=8,
        rows_per_group=2,
    )
    for row, expected in enumerate(codes):
        target = tmp_path / f"{row}.wav"
        source = f"{tmp_path}/{shard.name}:{row}"
        assert main(["tokenizer", "decode", source, "-o", str(target)]) == 0
        assert num_samples(target) == len(expected) * 960
    capsys.readouterr()
    assert main(["tokenizer", "decode", f"{tmp_path}/{shard.name}:3", "-o", str(tmp_path)]) == 2
    assert "has rows 0 to 2, found row 3" in capsys.readouterr().err


def test_codes_of_another_tokenizer_and_files_without_codes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ShardPlan("shard", (make_row(0, 0),))
    codes = [np.zeros((3, 8), np.uint16)]
    shard = write_shard(
        plan, codes, tmp_path, epoch=0, fingerprint="other", num_codebooks=8, rows_per_group=2
    )
    assert main(["tokenizer", "decode", f"{tmp_path}/{shard.name}:0", "-o", str(tmp_path)]) == 2
    assert "made by another tokenizer (other)" in capsys.readouterr().err
    (tmp_path / "x.codes.safetensors").write_text("no codes")
    source = str(tmp_path / "x.codes.safetensors")
    assert main(["tokenizer", "decode", source, "-o", str(tmp_path)]) == 2
    assert "is no codes file" in capsys.readouterr().err


def test_a_file_shorter_than_a_frame_is_named_and_the_rest_is_encoded(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(recordings / "click.wav", tone(0.03), RATE_HZ)
    assert main(["tokenizer", "encode", str(recordings), "-o", str(tmp_path / "codes")]) == 3
    printed = capsys.readouterr()
    assert "2 encoded" in printed.out
    assert "click.wav: " in printed.err
    assert "720 samples, wanted 960 or more" in " ".join(printed.err.split())
    assert not (tmp_path / "codes" / "click.wav.codes.safetensors").exists()


def test_a_file_that_is_no_audio_is_named_and_the_rest_is_encoded(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "text.wav").write_text("no audio at all")
    assert main(["tokenizer", "encode", str(recordings), "-o", str(tmp_path / "codes")]) == 3
    printed = capsys.readouterr()
    assert "2 encoded" in printed.out
    assert "text.wav" in printed.err


def test_many_codes_do_not_go_into_one_wav_nor_two_files_into_one_name(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = tmp_path / "codes"
    assert main(["tokenizer", "encode", str(recordings), "-o", str(codes)]) == 0
    assert main(["tokenizer", "decode", str(codes), "-o", str(tmp_path / "x.wav")]) == 2
    assert "holds 2 files of codes" in capsys.readouterr().err
    (recordings / "a").mkdir()
    (recordings / "deep" / "b.wav").rename(recordings / "deep" / "a.wav")
    pattern = str(recordings / "**" / "*.wav")
    assert main(["tokenizer", "encode", pattern, "-o", str(tmp_path / "other")]) == 2
    assert "would both be written as 'a.wav'" in capsys.readouterr().err


def test_a_refused_clip_is_named_and_its_batch_goes_on(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(recordings / "blink.wav", tone(0.02), RATE_HZ)
    out = tmp_path / "codes"
    assert main(["tokenizer", "encode", str(recordings), "-o", str(out)]) == 3
    said = capsys.readouterr()
    assert "blink.wav" in said.out + said.err
    assert len(list(out.rglob("*.safetensors"))) == 2


def test_a_torn_shard_and_too_many_codebooks_are_one_line(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    assert main(["tokenizer", "decode", str(tmp_path / "torn.parquet:0"), "-o", "x.wav"]) == 2
    assert "cannot be read as a token shard" in capsys.readouterr().err
    more = ["tokenizer", "encode", str(recordings), "-o", str(tmp_path), "--codebooks", "9"]
    assert main(more) == 2
    assert "num_codebooks is 9, wanted 1..8" in capsys.readouterr().err


def test_segments_of_a_spec_are_those_of_the_tokenizer() -> None:
    tokenizer = open_tokenizer(TokenizeSpec(segment_hops=3000, reference_padding=True))
    assert tokenizer.options.segment_hops == 3000
    assert tokenizer.options.reference_padding
