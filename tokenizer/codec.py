"""`Tokenizer`: waveforms to codes and back, for everyone outside this folder."""

# Shapes: T frames, K codebooks.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from schemas.errors import TokenizerError
from tokenizer.batching import by_budget
from tokenizer.checkpoint import load_model, read_extra, save_model, weights_digest
from tokenizer.clip_encoding import CPU_HOPS_PER_PACK, GPU_HOPS_PER_PACK, ClipEncoder
from tokenizer.fingerprint import fingerprint_of
from tokenizer.intake import check_codes, check_num_codebooks, check_rate, check_waveform
from tokenizer.model import TokenizerModel
from tokenizer.options import TokenizerOptions
from tokenizer.spec import TokenizerSpec
from tokenizer.streaming import LEFT_FRAMES, RIGHT_FRAMES, StreamDecoder
from tokenizer.tiling import TilingChoice


class Tokenizer:
    """A checkpoint ready to use. On a CPU a clip's codes are its own to the bit, in any company."""

    def __init__(
        self,
        model: TokenizerModel,
        *,
        options: TokenizerOptions | None = None,
        trained: bool = True,
        origin: str = "",
        weights_sha256: str | None = None,
    ) -> None:
        """Wrap a model. `origin` says where the weights are from; `trained` whether they learnt."""
        self.model = model.eval().requires_grad_(False)
        self.options = options or TokenizerOptions()
        self.trained = trained
        self.origin = origin
        self._weights_sha256 = weights_sha256 or weights_digest(model)
        self.model.apply_rounding(self.options)
        self._clips = ClipEncoder(model, self.options)
        self._decoder_tiling = TilingChoice(model.decoder.row_probes)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        options: TokenizerOptions | None = None,
    ) -> "Tokenizer":
        """The tokenizer of a folder with `config.json` and `model.safetensors`.

        A key that is wrong, missing or misshapen is one line that names it. `dtype` is that of
        the weights; codebooks, mel and inverse STFT stay float32.
        """
        folder, device = Path(folder), torch.device(device)
        if dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
            raise TokenizerError(f"dtype is {dtype}, wanted float32, bfloat16 or float16")
        model, digest = load_model(folder, device, dtype)
        extra = read_extra(folder)
        return cls(
            model,
            options=options,
            trained=bool(extra.get("trained", True)),
            origin=str(extra.get("origin", "")),
            weights_sha256=digest,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder that `from_pretrained` opens, in the published layout."""
        if self.options.round_tables:
            raise TokenizerError("the tables of this tokenizer are rounded; save the original one")
        save_model(self.model, Path(folder), {"trained": self.trained, "origin": self.origin})

    @property
    def spec(self) -> TokenizerSpec:
        return self.model.spec

    @property
    def device(self) -> torch.device:
        return self.model.encoder.conv1.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.encoder.dtype

    @property
    def sample_rate_hz(self) -> int:
        return self.spec.sample_rate_hz

    @property
    def frame_rate_hz(self) -> int:
        return self.spec.frame_rate_hz

    @property
    def samples_per_frame(self) -> int:
        return self.spec.samples_per_frame

    @property
    def num_codebooks(self) -> int:
        return self.spec.num_codebooks

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self.spec.codebook_sizes

    def fingerprint(self) -> str:
        """Canonical JSON of all that decides codes."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint_of(
            self.spec,
            self.options,
            weights_sha256=self._weights_sha256,
            dtype=self.dtype,
            trained=self.trained,
        )

    def describe(self) -> dict[str, Any]:
        """Facts for a report or a log line."""
        return {
            "trained": self.trained,
            "origin": self.origin,
            "parameters": sum(part.numel() for part in self.model.parameters()),
            "frame_rate_hz": self.frame_rate_hz,
            "codebook_sizes": list(self.codebook_sizes),
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "weights_sha256": self._weights_sha256,
            **asdict(self.options),
        }

    def num_frames(self, num_samples: int) -> int:
        """Frames that a waveform of so many samples, a frame or more, becomes."""
        hops, whole = self.spec.num_hops(num_samples), self.options.segment_hops
        rest = hops % whole
        frames = hops // whole * self.spec.num_frames(whole)
        return frames + (self.spec.num_frames(rest) if rest else 0)

    @torch.inference_mode()
    def encode(
        self,
        waveforms: Sequence[Tensor],
        num_codebooks: int = 8,
        *,
        sample_rate_hz: int | None = None,
        hops_per_pack: int | None = None,
    ) -> list[Tensor]:
        """Codes `[frames, num_codebooks]` of each waveform, int64 on the host, in order.

        A waveform is 1-D, float, at `sample_rate_hz` and a frame or longer. Clips are packed
        up to `hops_per_pack` mel hops, on a CPU one pack to each thread; that bounds memory and
        changes no code.
        """
        check_rate(sample_rate_hz, self.sample_rate_hz)
        check_num_codebooks(num_codebooks, self.num_codebooks)
        if hops_per_pack is not None and hops_per_pack < 1:
            raise TokenizerError(f"hops_per_pack is {hops_per_pack}, wanted 1 or more")
        checked = [
            check_waveform(waveform, index, self.spec) for index, waveform in enumerate(waveforms)
        ]
        with self._without_autocast():
            return self._clips.encode(checked, num_codebooks, hops_per_pack=hops_per_pack)

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor], *, as_padded_batch: bool = False) -> list[Tensor]:
        """Samples of each clip's codes `[frames, codebooks]`, float32 on the host, in order.

        Each is `frames * samples_per_frame` long and as if decoded alone. Clips longer than a
        segment are decoded segment by segment and joined, as the published tool does. The columns
        are the first codebooks, as many as there are. `as_padded_batch` gives what the published
        model makes of all clips as one zero-padded batch: uncut, and each as long as the longest.
        """
        checked = [
            check_codes(clip, self.codebook_sizes, f"clip {index}")
            for index, clip in enumerate(codes)
        ]
        if as_padded_batch and checked:
            vectors = [self.dequantize(clip) for clip in checked]
            return self.decode_vectors(vectors, as_padded_batch=True)
        segment = self.spec.num_frames(self.options.segment_hops)
        pieces = [
            (index, piece) for index, clip in enumerate(checked) for piece in clip.split(segment)
        ]
        parts: list[list[Tensor]] = [[] for _ in checked]
        hops = CPU_HOPS_PER_PACK if self._on_cpu else GPU_HOPS_PER_PACK
        for batch in by_budget(pieces, _length, max(1, hops // self.spec.hops_per_frame)):
            vectors = [self.dequantize(piece) for _, piece in batch]
            for (index, _), samples in zip(batch, self.decode_vectors(vectors), strict=True):
                parts[index].append(samples)
        return [torch.cat(clip) for clip in parts]

    @torch.inference_mode()
    def dequantize(self, codes_TK: Tensor) -> Tensor:
        """Vectors `[frames, width]` that codes stand for, on the model's device."""
        codes_TK = check_codes(codes_TK, self.codebook_sizes, "codes")
        return self.model.encoder.quantizer.decode(codes_TK.to(self.device))

    @torch.inference_mode()
    def decode_vectors(
        self, vectors: Sequence[Tensor], *, as_padded_batch: bool = False
    ) -> list[Tensor]:
        """Samples of clips given as vectors, float32 on the host; see `Decoder` for the switch."""
        with self._without_autocast():
            decoded = self.model.decoder(
                vectors,
                tiling=self._decoder_tiling() if self._on_cpu else None,
                as_padded_batch=as_padded_batch,
            )
        return [samples.float().cpu() for samples in decoded]

    def stream_decode(
        self,
        codes: Tensor | Iterable[Tensor],
        *,
        chunk_frames: int = 25,
        left_frames: int = LEFT_FRAMES,
        right_frames: int = RIGHT_FRAMES,
    ) -> Iterator[Tensor]:
        """The samples of one clip in pieces, close to `decode`'s but not equal to them.

        `codes` is `[frames, codebooks]`, taken `chunk_frames` at a time, or such parts as they
        arrive. Each piece is decoded with `left_frames` of context and held back until
        `right_frames` have followed. A part is decoded once the next one, or the end, is there.
        """
        decoder = StreamDecoder(self, left_frames=left_frames, right_frames=right_frames)
        if not isinstance(codes, Tensor):
            return decoder.run(codes)
        if chunk_frames < 1:
            raise TokenizerError(f"chunk_frames is {chunk_frames}, wanted 1 or more")
        return decoder.run(check_codes(codes, self.codebook_sizes, "codes").split(chunk_frames))

    def encode_numpy(
        self, waveforms: Sequence[npt.NDArray[np.float32]], num_codebooks: int
    ) -> list[npt.NDArray[np.uint16]]:
        """`encode` for the pipeline: arrays in, uint16 `[frames, num_codebooks]` out."""
        tensors = []
        for index, waveform in enumerate(waveforms):
            if not isinstance(waveform, np.ndarray):
                raise TokenizerError(
                    f"waveform {index} is a {type(waveform).__name__}, wanted a float32 array"
                )
            # A copy: the array may be a read-only view of shared memory.
            tensors.append(torch.from_numpy(np.array(waveform)))
        return [codes.numpy().astype(np.uint16) for codes in self.encode(tensors, num_codebooks)]

    def decode_numpy(self, codes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """`decode` for one clip's codes `[frames, codebooks]`."""
        if not isinstance(codes, np.ndarray) or codes.dtype.kind not in "iu":
            found = codes.dtype if isinstance(codes, np.ndarray) else type(codes).__name__
            raise TokenizerError(f"codes are {found}, wanted an integer array [frames, codebooks]")
        (samples,) = self.decode([torch.from_numpy(codes.astype(np.int64))])
        return samples.numpy()

    @property
    def _on_cpu(self) -> bool:
        return self.device.type == "cpu"

    def _without_autocast(self) -> torch.autocast:
        """A caller's autocast would give other codes than the fingerprint says."""
        return torch.autocast(self.device.type, enabled=False)


def _length(item: tuple[int, Tensor]) -> int:
    return item[1].shape[0]
