"""How fast a run goes: tokens a second, and the share of the device's peak."""

from collections.abc import Sequence

import torch

from model.documents import Documents
from model.mimo import MiMoAudio
from model.training.batch import PackedBatch

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0}
"""Dense bfloat16 of NVIDIA's data sheets, by a part of the device's name."""


class Pace:
    """Counts what the model computes: three times the forward pass of every matrix product."""

    def __init__(self, model: MiMoAudio, peak_tflops: float | None, device: torch.device) -> None:
        self._empty = model.special_tokens.empty
        self._group = model.spec.group_size
        spec = model.spec
        self._attention = (
            spec.backbone.num_layers * spec.backbone.num_heads * spec.backbone.head_width
        )
        self._per_position = _matrices(model, ("model.layers.",))
        self._per_target = _matrices(model, ("lm_head.",))
        self._per_frame = _matrices(model, ("input_local_transformer.",))
        self._per_patch = _matrices(model, ("speech_group_downcast.",))
        self._per_decoder_step = _matrices(model, ("local_transformer.",))
        self._per_decoded_frame = _matrices(model, ("local_transformer_lm_heads.",))
        self._steps = spec.patch_steps
        self._peak = peak_tflops or _known_peak(device)

    def of_step(
        self, batches: Sequence[PackedBatch], seconds: float, world: int
    ) -> dict[str, float]:
        """Positions of text and audio a second over all processes, and MFU where a peak is known.

        Padding counts as nothing.
        """
        text = audio = 0
        flops = 0.0
        for batch in batches:
            ids, labels = batch.input_ids[0, :: self._group], batch.labels[0, :: self._group]
            here = int((ids == self._empty).sum())
            targets, patches = int((labels >= 0).sum()), int((labels == self._empty).sum())
            audio += here
            text += batch.num_positions - here
            flops += 6.0 * (
                self._per_position * batch.num_positions
                + self._per_target * targets
                + (self._per_frame * self._group + self._per_patch) * here
                + self._per_decoder_step * self._steps * patches
                + self._per_decoded_frame * self._group * patches
            )
            flops += 6.0 * self._attention * _squares(batch.documents)
        figures = {
            "text_positions_per_s": world * text / seconds,
            "audio_positions_per_s": world * audio / seconds,
        }
        if self._peak is not None:
            figures["mfu"] = flops / seconds / (self._peak * 1e12)
        return figures


def _matrices(model: MiMoAudio, prefixes: tuple[str, ...]) -> int:
    """Weights that multiply: of two dimensions, and no lookup tables."""
    return sum(
        part.numel()
        for name, part in model.named_parameters()
        if name.startswith(prefixes) and part.ndim == 2
    )


def _squares(documents: Documents) -> float:
    """Pairs of positions that see each other, both products of attention: n^2 / 2 of each."""
    return float(sum(length * length for length in documents.lengths))


def _known_peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)
