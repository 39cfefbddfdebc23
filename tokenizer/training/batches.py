"""Training batches, each a pure function of the seed and the step: resuming needs no state."""

# Shapes: B clips, S samples.

import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from schemas.codes import Waveform
from schemas.errors import TrainingError
from tokenizer.training.augment import Augment
from tokenizer.training.clips import ClipStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Clips of one step."""

    waveforms: list[Tensor]
    """Each `[S]`, float32, a whole number of frames long."""
    texts: list[str | None]
    """Transcripts of the clips that are whole; None for crops."""

    @property
    def num_samples(self) -> int:
        return sum(waveform.shape[0] for waveform in self.waveforms)

    def padded(self) -> tuple[Tensor, Tensor]:
        """`[B, S]` with zeros behind, and the lengths `[B]`."""
        lengths = torch.tensor([waveform.shape[0] for waveform in self.waveforms])
        return torch.nn.utils.rnn.pad_sequence(self.waveforms, batch_first=True), lengths

    def to(self, device: torch.device) -> "Batch":
        moved = [waveform.to(device, non_blocking=True) for waveform in self.waveforms]
        return Batch(waveforms=moved, texts=self.texts)


class Batches(Dataset[Batch]):
    """`batches[step]`; every clip once per epoch, or as often as `repeat` says, in a new order."""

    def __init__(
        self,
        store: ClipStore,
        *,
        seed: int,
        clips_per_step: int,
        held_out: int,
        repeat: Mapping[str, int],
        max_clip_s: float,
        samples_per_frame: int,
        augment: Augment | None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Raises `TrainingError` where too few clips are left, or they cannot be shared out."""
        if clips_per_step % world:
            raise TrainingError(
                f"clips_per_step is {clips_per_step}, wanted a multiple of the {world} processes"
            )
        self._store = store
        self._seed = seed
        self._clips_per_step = clips_per_step
        self._max_samples = round(max_clip_s * store.sample_rate_hz)
        self._frame = samples_per_frame
        self._augment = augment
        self._rank, self._world = rank, world
        held = set(held_out_clips(len(store), held_out))
        self.indices = [
            index
            for index, clip in enumerate(store.clips)
            if index not in held
            for _ in range(_times(clip.name, repeat))
        ]
        if not self.indices:
            raise TrainingError(
                f"{len(store)} clips, of which data.held_out keeps {len(held)} back: none is left "
                "to train on"
            )
        self._epoch: tuple[int, Sequence[int]] | None = None

    def __getitem__(self, step: int) -> Batch:
        """This process's share of a step's clips."""
        share = self._clips_per_step // self._world
        first = step * self._clips_per_step + self._rank * share
        waveforms, texts = [], []
        for place in range(first, first + share):
            waveform, text = self._clip(place)
            waveforms.append(torch.from_numpy(waveform))
            texts.append(text)
        return Batch(waveforms=waveforms, texts=texts)

    def _clip(self, place: int) -> tuple[Waveform, str | None]:
        random = np.random.default_rng([self._seed, place])
        index = self._index_at(place)
        clip = self._store.clips[index]
        # Speeding up shortens a clip: take what is enough, cut to length afterwards.
        read = min(clip.num_samples, 2 * self._max_samples)
        start = int(random.integers(0, clip.num_samples - read + 1))
        waveform = self._store.waveform(index, start, read)
        if self._augment is not None:
            waveform = self._augment(waveform, random)
        whole = read == clip.num_samples and waveform.size <= self._max_samples
        if not whole:
            length = min(waveform.size, self._max_samples)
            start = int(random.integers(0, waveform.size - length + 1))
            waveform = waveform[start : start + length]
        frames = max(1, waveform.size // self._frame)
        missing = frames * self._frame - waveform.size
        waveform = np.pad(waveform, (0, max(0, missing)))[: frames * self._frame]
        return np.ascontiguousarray(waveform, dtype=np.float32), clip.text if whole else None

    def _index_at(self, place: int) -> int:
        epoch, within = divmod(place, len(self.indices))
        if self._epoch is None or self._epoch[0] != epoch:
            order = np.random.default_rng([self._seed, 1, epoch]).permutation(self.indices)
            self._epoch = epoch, order.tolist()
        return self._epoch[1][within]


def _leave_interrupts_to_the_trainer(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the trainer ends its step, then them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _times(name: str, repeat: Mapping[str, int]) -> int:
    return next((times for pattern, times in repeat.items() if fnmatch(name, pattern)), 1)


def held_out_clips(count: int, held_out: int) -> list[int]:
    """Indices of clips that are never trained on, evenly spread; at most a tenth of all."""
    kept_back = min(held_out, max(1, count // 10))
    return [place * count // kept_back for place in range(kept_back)]


def stream(batches: Batches, first: int, last: int, workers: int) -> Iterator[Batch]:
    """Batches of steps `first` to `last - 1`, made ahead in other processes."""
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_interrupts_to_the_trainer,
    )
    yield from loader
