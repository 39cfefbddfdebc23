"""Reference-based speech measures, predicted without a reference by SQUIM."""

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from schemas.codes import Waveform
from schemas.errors import EngineMissingError
from schemas.verdict import Keep, Verdict
from stages.base import Resources, Segment, SegmentStage, StageSpec
from stages.weights import files_digest

RATE_HZ = 16_000
_MIN_SAMPLES = 1600
_SILENCE_RMS = 1e-6
_HOW_TO_GET = (
    "fetch models/squim_objective_dns2020.pth from https://download.pytorch.org/torchaudio/ on a "
    "machine with internet, copy it here and name it in stages.mos.weights"
)


class SquimSpec(StageSpec):
    """Weights and hardware."""

    weights: str = Field(min_length=1)
    """Local file with the weights of torchaudio's SQUIM objective model: .safetensors, or a state
    dict as torchaudio publishes it. Nothing is ever downloaded."""
    device: Literal["cpu", "cuda"] = "cpu"
    window_s: float = Field(default=5.0, ge=1.0, le=60.0)
    """Longer segments are scored in equal parts of at most this length, and the mean is kept: time
    and memory of the network's attention grow with the square of its input (one core runs 5 s at
    3.8 x real time, 30 s at 1.1 x, in gigabytes)."""


class Squim(SegmentStage):
    """Estimates of STOI, wide-band PESQ and SI-SDR: how far the speech is from a clean original.

    torchaudio's `squim_objective_base` (A. Kumar et al., "TorchAudio-Squim: reference-less speech
    quality and intelligibility measures in TorchAudio", ICASSP 2023). Each window is one call, so
    that no score depends on what it is batched with. A segment too short (0.1 s) or silent has no
    scores.
    """

    name: ClassVar[str] = "mos"
    engine: ClassVar[str] = "squim"
    Spec: ClassVar[type[StageSpec]] = SquimSpec
    reads: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]] = frozenset({"squim_stoi", "squim_pesq", "squim_si_sdr_db"})
    speed_x_real_time: ClassVar[float] = 3.8

    spec: SquimSpec

    def __init__(self, spec: SquimSpec) -> None:
        super().__init__(spec)
        if find_spec("torchaudio") is None:
            raise EngineMissingError(
                "stages.mos: engine 'squim' needs the package 'torchaudio'; install it, or use the "
                "engine 'dnsmos'"
            )
        self._path = Path(spec.weights)
        if not self._path.is_file():
            raise EngineMissingError(
                f"stages.mos: the weights {spec.weights!r} are not there; {_HOW_TO_GET}"
            )
        self._model: Any = None

    @cached_property
    def _digest(self) -> str:
        return files_digest(self._path)

    def describe(self) -> str:
        return f"squim torchaudio {version('torchaudio')} {self._path.name} {self._digest}"

    def resources(self) -> Resources:
        num_gpus = 1.0 if self.spec.device == "cuda" else 0.0
        return Resources(num_cpus=1.0, num_gpus=num_gpus, memory_mb=1500)

    def open(self) -> None:
        import torch
        from torchaudio.models import squim_objective_base

        if self.spec.device == "cuda" and not torch.cuda.is_available():
            raise EngineMissingError(
                "stages.mos: device 'cuda' was asked for, but torch sees no GPU here; set "
                "stages.mos.device=cpu, or run on a machine with one"
            )
        model = squim_objective_base()
        try:
            model.load_state_dict(_read_weights(self._path))
        except (RuntimeError, TypeError, EOFError, UnpicklingError) as error:
            raise EngineMissingError(
                f"stages.mos: {str(self._path)!r} does not hold the weights of torchaudio's SQUIM "
                f"objective model ({type(error).__name__}); {_HOW_TO_GET}"
            ) from error
        self._model = model.eval().to(self.spec.device)

    def close(self) -> None:
        self._model = None

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [self._score(segment.waveform(RATE_HZ)) for segment in batch]

    def _score(self, waveform: Waveform) -> Keep:
        num_windows = max(1, -(-len(waveform) // round(self.spec.window_s * RATE_HZ)))
        scored = [
            self._window(window)
            for window in np.array_split(waveform, num_windows)
            # The network divides by the level: silence would come out as NaN.
            if len(window) >= _MIN_SAMPLES and np.sqrt(np.mean(window**2)) > _SILENCE_RMS
        ]
        stoi, pesq, si_sdr_db = np.mean(scored, axis=0).tolist() if scored else (None,) * 3
        return Keep({"squim_stoi": stoi, "squim_pesq": pesq, "squim_si_sdr_db": si_sdr_db})

    def _window(self, window: Waveform) -> tuple[float, float, float]:
        import torch

        with torch.inference_mode():
            samples = torch.from_numpy(window.copy()).to(self.spec.device)
            stoi, pesq, si_sdr_db = (float(score) for score in self._model(samples[None]))
        return stoi, pesq, si_sdr_db


def _read_weights(path: Path) -> dict[str, Any]:
    """A state dict; pickles are read weights-only, so that a file cannot run code."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise RuntimeError(f"{path.name} is no safetensors file") from error
    import torch

    weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
