"""The training benchmark: both sides do the same work, and the trainer's own figures are told."""

import json

import pytest

from benchmarks.train import main, trained
from model.small import tiny_model


def test_both_loops_have_the_same_losses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--short"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["loss_difference"] < 1e-4
    assert found["over_plain_loop"] > 0
    assert found["positions_per_s"] > 0
    assert found["positions_per_s_plain_loop"] > 0
    assert 0.5 < found["fill"] <= 1.0
    assert found["samples"] > 10
    assert "gpu_mfu" in found


def test_the_part_for_a_gpu_tells_the_share_of_the_peak() -> None:
    found = trained(
        tiny_model(),
        "cpu",
        3,
        context_groups=256,
        sequences=2,
        precision="float32",
        peak_tflops=1e-6,
    )
    assert found["gpu_mfu"] > 0
    assert found["gpu_positions_per_s"] > 0
