"""What listeners would say of a segment's sound, as predicted by DNSMOS."""

import os
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from schemas.codes import Waveform
from schemas.errors import EngineMissingError
from schemas.verdict import Keep, Verdict
from stages.base import Resources, Segment, SegmentStage, StageSpec
from stages.mos.p808_mel import HOP_SAMPLES, RATE_HZ, p808_mel
from stages.weights import files_digest

WINDOW_SAMPLES = 144_160
"""9.01 s: the only length that the P.835 network takes."""
_SHORTEST_TAIL_SAMPLES = RATE_HZ
"""A rest below 1 s behind the last window gets no window of its own, as in speechmos."""

# From the networks' raw outputs to the scale of the listening tests; coefficients of the DNS
# Challenge's scoring script (microsoft/DNS-Challenge, DNSMOS/dnsmos_local.py), highest power first.
_SIG_POLYNOMIAL = (-0.08397278, 1.22083953, 0.0052439)
_BAK_POLYNOMIAL = (-0.13166888, 1.60915514, -0.39604546)
_OVRL_POLYNOMIAL = (-0.06766283, 1.11546468, 0.04602535)


class DnsmosSpec(StageSpec):
    """How densely a segment is looked at."""

    hop_s: float = Field(default=9.01, ge=0.5, le=9.01)
    """From one 9.01-s window to the next; the default looks at everything once."""


class Dnsmos(SegmentStage):
    """DNSMOS P.835 (speech, background, overall) and P.808, on their 1-5 scales.

    The networks and the calibration are those of the package `speechmos`, run without its hop of
    1 s, which computes everything nine times. A segment's score is the mean over its windows; one
    shorter than a window is repeated to fill it, as speechmos does. Against a hop of 1 s, over 29
    stretches of 10 to 30 s of speech, noise and music, the default differs by 0.03 (speech), 0.08
    (background), 0.05 (overall) and 0.04 (P.808) on average, by 0.23 at most, at correlations of
    0.995 and more; it takes a window for 9 s instead of nine.
    """

    name: ClassVar[str] = "mos"
    engine: ClassVar[str] = "dnsmos"
    Spec: ClassVar[type[StageSpec]] = DnsmosSpec
    reads: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]] = frozenset(
        {"dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808"}
    )
    speed_x_real_time: ClassVar[float] = 20.0

    spec: DnsmosSpec

    def __init__(self, spec: DnsmosSpec) -> None:
        super().__init__(spec)
        package = find_spec("speechmos")
        locations = package.submodule_search_locations if package else None
        if find_spec("onnxruntime") is None or not locations:
            raise EngineMissingError(
                "stages.mos: engine 'dnsmos' needs the packages 'speechmos' (for its models) and "
                "'onnxruntime'; install both"
            )
        folder = Path(next(iter(locations))) / "dnsmos_models"
        self._p835_path = folder / "sig_bak_ovr.onnx"
        self._p808_path = folder / "model_v8.onnx"
        for path in (self._p835_path, self._p808_path):
            if not path.is_file():
                raise EngineMissingError(
                    f"stages.mos: engine 'dnsmos' wants {path.name} of the package 'speechmos', "
                    "which is not there; install speechmos 0.0.1.1 again"
                )
        self._p835: Any = None
        self._p808: Any = None

    @cached_property
    def _models_sha256(self) -> str:
        return files_digest(self._p835_path, self._p808_path)

    def describe(self) -> str:
        return (
            f"dnsmos speechmos {version('speechmos')} onnxruntime {version('onnxruntime')} "
            f"{self._models_sha256}"
        )

    def resources(self) -> Resources:
        return Resources(num_cpus=1.0, memory_mb=700)

    def open(self) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: it reports to its maker
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the worker has one core
        options.inter_op_num_threads = 1
        self._p835, self._p808 = (
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in (self._p835_path, self._p808_path)
        )

    def close(self) -> None:
        self._p835 = self._p808 = None

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [self._score(segment.waveform(RATE_HZ)) for segment in batch]

    def _score(self, waveform: Waveform) -> Keep:
        samples = fill_window(np.clip(waveform, -1.0, 1.0))
        num_samples = len(waveform) if len(waveform) >= WINDOW_SAMPLES else WINDOW_SAMPLES
        starts = window_starts(num_samples, round(self.spec.hop_s * RATE_HZ))
        # One window a call: batches are no faster on a CPU, and so no score depends on company.
        scores = np.mean([self._window(samples[at : at + WINDOW_SAMPLES]) for at in starts], axis=0)
        names = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")
        return Keep({name: float(score) for name, score in zip(names, scores, strict=True)})

    def _window(self, window: Waveform) -> tuple[float, float, float, float]:
        (raw,) = self._p835.run(None, {"input_1": window[None]})
        mel = p808_mel(window[:-HOP_SAMPLES])
        (p808,) = self._p808.run(None, {"input_1": mel[None]})
        sig, bak, ovrl = (float(value) for value in raw[0])
        return (
            float(np.polyval(_SIG_POLYNOMIAL, sig)),
            float(np.polyval(_BAK_POLYNOMIAL, bak)),
            float(np.polyval(_OVRL_POLYNOMIAL, ovrl)),
            float(p808[0, 0]),
        )


def fill_window(samples: Waveform) -> Waveform:
    """The samples, repeated until they fill one window if they are shorter."""
    if len(samples) >= WINDOW_SAMPLES:
        return samples
    return np.resize(samples, WINDOW_SAMPLES) if len(samples) else np.zeros(WINDOW_SAMPLES, "f")


def window_starts(num_samples: int, hop_samples: int) -> list[int]:
    """First samples of the windows: one every hop, and one up to the end if a rest is left.

    `num_samples` is at least one window.
    """
    last = num_samples - WINDOW_SAMPLES
    starts = list(range(0, last + 1, hop_samples))
    if last - starts[-1] >= _SHORTEST_TAIL_SAMPLES:
        starts.append(last)
    return starts
