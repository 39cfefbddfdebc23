"""The loader: step in, batch out. A batch is a pure function of the spec and the manifests."""

import json
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from model.fingerprint import require_same_tokenizer
from model.loader.batch import Batch, PackedSequence
from model.loader.committed import open_committed
from model.loader.loader_spec import LoaderSpec
from model.loader.mixture import Mixture
from model.loader.range_cache import RangeCache
from model.loader.source_rows import SourceRows
from model.loader.windows import Counted
from schemas.errors import TrainingError
from schemas.ids import digest
from schemas.tokens import NO_TOKENIZER

Laid = TypeVar("Laid", covariant=True)

CACHE_BYTES = 16 << 30


class Loader(Generic[Laid]):
    """Batches of a spec, by step, for any rank of any number of ranks.

    `cache_folder` keeps the lengths of all samples, the plan, and what comes from far away (at most
    `cache_bytes` of that); processes may share it. `tokenizer` is the fingerprint of the codes that
    the model knows; without it, all sources with codes must agree. `num_threads` read for each
    source, the window that is needed and the one after it. 0: what is needed is read when it is,
    and of a local folder the system is asked to have it in memory by then. None: 0 for a local
    folder, where a thread in one process costs more than it gives, 1 for what is far away.

    Raises `OutputError`, `StorageError`, `ModelError` or `TrainingError` for shards that cannot be
    used, here or when they are read.
    """

    def __init__(
        self,
        spec: LoaderSpec[Laid],
        cache_folder: str | Path,
        *,
        tokenizer: str | None = None,
        cache_bytes: int = CACHE_BYTES,
        num_threads: int | None = None,
    ) -> None:
        self.spec = spec
        self._again: Callable[[], Loader[Laid]] = partial(
            Loader,
            spec,
            cache_folder,
            tokenizer=tokenizer,
            cache_bytes=cache_bytes,
            num_threads=num_threads,
        )
        folder = Path(cache_folder)
        cache = RangeCache(folder / "ranges", cache_bytes)
        self._committed = [open_committed(s.uri, cache, s.version) for s in spec.sources]
        self._require_one_tokenizer(tokenizer or self.tokenizer)
        self._facts = spec.facts([committed.digest for committed in self._committed])
        self.digest = digest("plan", json.dumps(self._facts, sort_keys=True))
        """Of everything that decides a batch."""
        self._sources = [
            SourceRows(
                source,
                committed,
                number,
                folder,
                seed=spec.seed,
                context_length=spec.context_length,
                window_groups=spec.window_groups,
                num_threads=num_threads,
            )
            for number, (source, committed) in enumerate(
                zip(spec.sources, self._committed, strict=True)
            )
        ]
        self._mixture = Mixture(
            [source.stream for source in self._sources],
            [source.exact_weight for source in spec.sources],
        )

    def __reduce__(self) -> tuple[Callable[[], "Loader[Laid]"], tuple[()]]:
        """Another process opens it anew: what is held open here stays here."""
        return self._again, ()

    def close(self) -> None:
        """Ends the threads that read ahead; asking for a batch starts them again."""
        for source in self._sources:
            source.close()

    @property
    def tokenizer(self) -> str | None:
        """Fingerprint of the codes; None where all sources are text without codes."""
        found = (committed.tokenizer for committed in self._committed)
        return next((one for one in found if one != NO_TOKENIZER), None)

    @property
    def num_sequences(self) -> int:
        """As many as one epoch of every source makes; with one source, its epoch."""
        return sum(source.stream.num_sequences for source in self._sources)

    def sequences_of(self, source: int) -> int:
        """Sequences of an epoch of that source."""
        return self._sources[source].stream.num_sequences

    def positions_of(self, source: int) -> int:
        """Positions in use in an epoch of that source."""
        return self._sources[source].stream.num_tokens

    def counted(self, source: int) -> Counted:
        """What became of that source's rows: samples, cut ones, left out ones, none."""
        return self._sources[source].stream.counted

    def batch(self, step: int, *, rank: int = 0, world_size: int = 1) -> Batch[Laid]:
        """That rank's share of a step: the global batch cut into `world_size` equal runs."""
        whole = self.spec.sequences_per_step
        if step < 0 or not 0 <= rank < world_size:
            raise TrainingError(f"loader: step {step} of rank {rank} of {world_size} is none")
        if whole % world_size:
            raise TrainingError(
                f"loader: {whole} sequences a step cannot be dealt to {world_size} ranks; change "
                "one of the two"
            )
        share = whole // world_size
        return Batch(step, self._sequences(step * whole + rank * share, share))

    def sequence(self, number: int) -> PackedSequence[Laid]:
        """One sequence, by its place in the order of all."""
        return self._sequences(number, 1)[0]

    def batches(
        self, first_step: int = 0, *, rank: int = 0, world_size: int = 1, ahead: int = 2
    ) -> Generator[Batch[Laid], None, None]:
        """Batches from a step on, without end; `ahead` of them are made in a thread of its own."""
        make = partial(self.batch, rank=rank, world_size=world_size)
        if not ahead:
            step = first_step
            while True:
                yield make(step)
                step += 1
        pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        try:
            coming: deque[Future[Batch[Laid]]] = deque()
            step = first_step
            while True:
                while len(coming) <= ahead:
                    coming.append(pool.submit(make, step))
                    step += 1
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def state(self, step: int) -> dict[str, Any]:
        """What a checkpoint keeps: the next step, and what the plan was. Plain JSON values."""
        versions = [committed.version for committed in self._committed]
        return {"step": step, "plan": self.digest, "facts": self._facts, "versions": versions}

    def resume(self, state: Mapping[str, Any]) -> int:
        """The step to go on with. Raises `TrainingError` where the state is of another plan."""
        if state["plan"] == self.digest:
            return int(state["step"])
        raise TrainingError(
            f"the loader stopped at step {state['step']} of another plan: "
            f"{'; '.join(self._differences(state))}. Put back what was changed, or start a new run"
        )

    def _sequences(self, first: int, count: int) -> tuple[PackedSequence[Laid], ...]:
        return tuple(
            self._sources[source].sequence(number, first + place)
            for place, (source, number) in enumerate(self._mixture.walk(first, count))
        )

    def _differences(self, state: Mapping[str, Any]) -> Iterator[str]:
        before, now = state["facts"], self._facts
        for name in now:
            if name != "sources" and before.get(name) != now[name]:
                yield f"{name} is {now[name]}, was {before.get(name)}"
        if len(before["sources"]) != len(now["sources"]):
            yield f"{len(now['sources'])} sources, were {len(before['sources'])}"
            return
        for number, (old, new) in enumerate(zip(before["sources"], now["sources"], strict=True)):
            yield from self._source_differences(number, old, new, state["versions"][number])

    def _source_differences(
        self, number: int, old: Mapping[str, str], new: Mapping[str, str], version: int
    ) -> Iterator[str]:
        uri = self.spec.sources[number].uri
        for name in ("sample", "weight"):
            if old[name] != new[name]:
                yield f"{name} of {uri} is {new[name]}, was {old[name]}"
        if old["manifest"] != new["manifest"]:
            now = self._committed[number].version
            yield (
                f"the shards of {uri} are others (its manifest was at version {version}, is at "
                f"{now}; if it only grew, name version={version} in the source)"
            )

    def _require_one_tokenizer(self, wanted: str | None) -> None:
        for source, committed in zip(self.spec.sources, self._committed, strict=True):
            if wanted is None or committed.tokenizer == NO_TOKENIZER:
                continue
            require_same_tokenizer(committed.tokenizer, wanted, where=source.uri)
