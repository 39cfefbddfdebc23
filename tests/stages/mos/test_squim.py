"""SQUIM through its real loading code, with random weights saved on the spot."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchaudio.models import squim_objective_base

from schemas.errors import EngineMissingError
from schemas.segments import SEGMENTS
from schemas.verdict import Keep
from stages.base import Segment
from stages.mos.squim import RATE_HZ, Squim, SquimSpec
from stages.registry import stage_class
from tests.stages.recorded import segment_of, speech_like


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine two threads of a small LSTM wait for each other
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("squim") / "squim.pth"
    torch.manual_seed(0)
    torch.save(squim_objective_base().state_dict(), path)
    return path


def opened(weights: Path, window_s: float = 5.0) -> Squim:
    stage = Squim(SquimSpec(weights=str(weights), window_s=window_s))
    stage.open()
    return stage


@pytest.fixture(scope="module")
def squim(weights: Path) -> Iterator[Squim]:
    stage = opened(weights)
    yield stage
    stage.close()


def scores_of(stage: Squim, *segments: Segment) -> list[dict[str, object]]:
    verdicts = stage.process(segments)
    assert all(isinstance(verdict, Keep) for verdict in verdicts)
    return [dict(verdict.values) for verdict in verdicts]


def test_scores_are_those_of_the_model_that_was_saved(squim: Squim, weights: Path) -> None:
    model = squim_objective_base()
    model.load_state_dict(torch.load(weights, weights_only=True))
    segment = segment_of(speech_like(1.0))
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(segment.waveform(RATE_HZ).copy())[None])
    (scores,) = scores_of(squim, segment)
    assert list(scores) == ["squim_stoi", "squim_pesq", "squim_si_sdr_db"]
    assert list(scores.values()) == pytest.approx([float(score) for score in expected], abs=1e-5)


def test_safetensors_and_state_dict_give_the_same_scores(
    squim: Squim, weights: Path, tmp_path: Path
) -> None:
    path = tmp_path / "squim.safetensors"
    save_file(torch.load(weights, weights_only=True), path)
    segment = segment_of(speech_like(0.5))
    assert scores_of(opened(path), segment) == scores_of(squim, segment)


def test_scores_depend_on_neither_company_nor_order(squim: Squim) -> None:
    one, two = segment_of(speech_like(0.5)), segment_of(0.3 * speech_like(1.0, seed=1))
    alone = [scores_of(squim, one)[0], scores_of(squim, two)[0]]
    assert scores_of(squim, one, two) == alone
    assert scores_of(squim, two, one) == alone[::-1]


def test_a_long_segment_scores_as_the_mean_of_its_parts(weights: Path) -> None:
    samples = speech_like(2.0)
    halves = scores_of(opened(weights), segment_of(samples[:24_000]), segment_of(samples[24_000:]))
    (whole,) = scores_of(opened(weights, window_s=1.0), segment_of(samples))
    for name, score in whole.items():
        parts = [float(str(half[name])) for half in halves]
        assert score == pytest.approx(np.mean(parts), abs=1e-3)  # the resampler's edges differ


def test_scores_stay_on_their_scales_and_are_columns(squim: Squim) -> None:
    assert Squim.writes <= SEGMENTS.column_names
    (scores,) = scores_of(squim, segment_of(speech_like(1.0)))
    stoi, pesq, si_sdr_db = (float(str(score)) for score in scores.values())
    assert 0.0 <= stoi <= 1.0
    assert 1.0 <= pesq <= 4.65
    assert np.isfinite(si_sdr_db)


def test_silence_and_scraps_have_no_scores(squim: Squim) -> None:
    silence, scrap = np.zeros(24_000, np.float32), speech_like(1.0)[:1000]
    for scores in scores_of(squim, segment_of(silence), segment_of(scrap)):
        assert scores.keys() == Squim.writes
        assert set(scores.values()) == {None}


def test_missing_weights_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(EngineMissingError, match=r"squim_objective_dns2020\.pth"):
        Squim(SquimSpec(weights=str(tmp_path / "absent.pth")))


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"no weights at all")
    with pytest.raises(EngineMissingError, match="does not hold the weights"):
        opened(path)
    if name.endswith(".pth"):
        torch.save({"encoder.conv1d.weight": torch.zeros(1)}, path)
    else:
        save_file({"encoder.conv1d.weight": torch.zeros(1)}, path)
    with pytest.raises(EngineMissingError, match="does not hold the weights"):
        opened(path)


class _Trap:
    """Unpickles into a call."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.marker,)


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    path = tmp_path / "trap.pth"
    torch.save({"encoder.conv1d.weight": _Trap(str(marker))}, path)
    with pytest.raises(EngineMissingError):
        opened(path)
    assert not marker.exists()


def test_a_missing_gpu_is_named(weights: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    stage = Squim(SquimSpec(weights=str(weights), device="cuda"))
    assert stage.resources().kind == "gpu"
    with pytest.raises(EngineMissingError, match="no GPU"):
        stage.open()


def test_it_travels_to_a_worker_and_names_its_weights(weights: Path) -> None:
    assert stage_class("mos", "squim") is Squim
    stage = Squim(SquimSpec(weights=str(weights)))
    assert pickle.loads(pickle.dumps(stage)).describe() == stage.describe()
    assert "squim.pth" in stage.describe()
