"""Checked waveforms to codes: the mel of each, cut and gathered into packs, each pack encoded."""

# Shapes: F hops, M mel bands, T frames, K codebooks.

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from tokenizer.batching import Segment, by_budget, packs_by_clip, packs_of
from tokenizer.mel import LogMel
from tokenizer.model import TokenizerModel
from tokenizer.options import TokenizerOptions
from tokenizer.tiling import SIZES, TilingChoice
from tokenizer.workers import Workers, side_by_side

CPU_HOPS_PER_PACK = 3_000
"""30 s: enough rows to fill every tile, few enough to stay near the cache."""
MIN_HOPS_PER_PACK = 500
PACKS_PER_THREAD = 4
"""Where there is less audio, packs are smaller, so that no thread ends long before the others."""
CPU_HOPS_PER_WINDOW = 150_000
"""25 minutes, whose mel is held at a time."""
GPU_HOPS_PER_PACK = 256_000
"""As many as the published tool puts into one batch."""


class ClipEncoder:
    """Encodes many clips at once, on a CPU so that each gets the codes it gets alone."""

    def __init__(self, model: TokenizerModel, options: TokenizerOptions) -> None:
        self.mel = LogMel(model.spec)
        self.tiling = TilingChoice(model.encoder.row_probes)
        self._spec = model.spec
        self._encoder = model.encoder
        self._options = options
        self._workers = Workers(self._probe_threads)

    def encode(
        self, waveforms: Sequence[Tensor], num_codebooks: int, *, hops_per_pack: int | None
    ) -> list[Tensor]:
        """Codes `[T, K]` of each waveform, on the host, in order. Gradients must be off."""
        hops_per_window = max(
            hops_per_pack or 0, CPU_HOPS_PER_WINDOW if self._on_cpu else GPU_HOPS_PER_PACK
        )
        codes: dict[tuple[int, int], Tensor] = {}
        for window in by_budget(enumerate(waveforms), self._num_hops, hops_per_window):
            packs = self._packs(self._segments(window), hops_per_pack)
            for pack, found in zip(packs, self._encode_packs(packs, num_codebooks), strict=True):
                for segment, codes_TK in zip(pack, found, strict=True):
                    codes[segment.clip, segment.part] = codes_TK
        clips: list[list[Tensor]] = [[] for _ in waveforms]
        for clip, part in sorted(codes):
            clips[clip].append(codes[clip, part])
        # Fetched only now, so that a device has the next pack waiting while it works on this one.
        return [torch.cat(parts).cpu() for parts in clips]

    @property
    def _device(self) -> torch.device:
        return self._encoder.conv1.weight.device

    @property
    def _on_cpu(self) -> bool:
        return self._device.type == "cpu"

    def _num_hops(self, numbered: tuple[int, Tensor]) -> int:
        return self._spec.num_hops(numbered[1].shape[0])

    def _segments(self, window: Sequence[tuple[int, Tensor]]) -> list[Segment]:
        """The mel of each whole waveform, cut. On a CPU one by one: each is its clip's own."""
        waveforms = [waveform.to(self._device) for _, waveform in window]
        mels = side_by_side(self.mel, waveforms) if self._on_cpu else self.mel.packed(waveforms)
        return [
            Segment(clip=clip, part=part, mel=hops_FM)
            for (clip, _), mel_FM in zip(window, mels, strict=True)
            for part, hops_FM in enumerate(mel_FM.split(self._options.segment_hops))
        ]

    def _packs(self, segments: list[Segment], hops_per_pack: int | None) -> list[list[Segment]]:
        if self._options.reference_padding:
            return packs_by_clip(segments, GPU_HOPS_PER_PACK)
        if hops_per_pack is None and self._on_cpu:
            hops = sum(segment.num_hops for segment in segments)
            share = hops // (torch.get_num_threads() * PACKS_PER_THREAD)
            hops_per_pack = min(max(share, MIN_HOPS_PER_PACK), CPU_HOPS_PER_PACK)
        return packs_of(segments, hops_per_pack or GPU_HOPS_PER_PACK)

    def _encode_packs(self, packs: list[list[Segment]], num_codebooks: int) -> list[list[Tensor]]:
        work = partial(self._encode_pack, num_codebooks=num_codebooks)
        if not self._on_cpu:
            return [work(pack) for pack in packs]
        if self._encoder.dtype != torch.float32:  # half precision may choose kernels by the threads
            return side_by_side(work, packs)
        return self._workers.map(work, packs)

    def _encode_pack(self, pack: Sequence[Segment], num_codebooks: int) -> list[Tensor]:
        features = self._encoder(
            [segment.mel for segment in pack],
            tiling=self.tiling() if self._on_cpu else None,
            as_padded_batch=self._options.reference_padding,
        )
        return self._encoder.codes(features, num_codebooks)

    def _probe_threads(self) -> Tensor:
        """The bits of all that follows the mel, on two short sounds and on single rows."""
        random = torch.Generator().manual_seed(0)
        bits = []
        for num_hops in (3, 49):
            mel_FM = torch.randn(num_hops, self._spec.num_mels, generator=random)
            features = self._encoder([mel_FM], tiling=self.tiling())
            bits.append(features.pack.of_clip(features.rows, 0).flatten())
        largest = SIZES[-1]
        bits += [probe(largest).flatten() for probe in self._encoder.row_probes()]
        return torch.cat([part.float() for part in bits])
