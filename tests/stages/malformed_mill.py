"""The corpus of bad input on disk, listed, and taken through fetching and decoding when asked."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.malformed.kind import Kind, Outcome
from benchmarks.malformed.kinds import make_corpus
from pipeline.assemble import NamedStage
from pipeline.inputs import fetched, list_inputs
from pipeline.item_state import Failure, ItemState
from pipeline.process import run_stages
from schemas.errors import ItemError
from schemas.ids import recording_id
from schemas.job import AUDIO_PATTERNS, InputsSpec
from schemas.source import Source
from stages.decode import PyavDecode
from tests.stages.test_decode_lures import opened_files

MAX_HOURS = 0.1  # so that a bomb of a day costs the work of six minutes
PLAYLISTS = "**/*.m3u8"


@dataclass
class Mill:
    """Kinds to what became of them: each is processed once, when it is first asked for."""

    folder: Path
    server: socket.socket
    sources: dict[str, Source]
    """By the path that the tables show, relative to the folder."""
    left_alone: frozenset[str]
    """Of these paths, the ones that are not listed unless a job asks for them."""
    decode: NamedStage
    results: dict[str, ItemState] = field(default_factory=dict)
    opened: dict[str, list[str]] = field(default_factory=dict)
    """By lure: the names in its folder that anybody opened meanwhile."""
    num_connections: int = 0

    @property
    def port(self) -> int:
        port: int = self.server.getsockname()[1]
        return port

    def result(self, kind: Kind) -> ItemState:
        """The input as the decode stage leaves it."""
        if kind.name not in self.results:
            path = self.folder / kind.relative_path
            item = ItemState(self.sources[kind.shown_path])
            if kind.after_listing:
                kind.after_listing(path)
            during = kind.while_read(path) if kind.while_read else nullcontext()
            watched = opened_files(path.parent) if kind.family == "lures" else nullcontext(list)
            with watched as names, during:
                self._decode(item)
                self.opened[kind.name] = names()
            self.count_connections()
            self.results[kind.name] = item
        return self.results[kind.name]

    def outcome(self, kind: Kind) -> Outcome:
        if kind.shown_path not in self.sources:
            return Outcome()
        item = self.result(kind)
        if item.failure:
            return Outcome(error_class=item.failure.error_class)
        flags = frozenset(item.values["decode_flags"])
        return Outcome(flags=flags, seconds=item.values["decoded_s"])

    def count_connections(self) -> int:
        """Connections so far to the port that lures name."""
        try:
            while True:
                self.server.accept()[0].close()
                self.num_connections += 1
        except BlockingIOError:
            return self.num_connections

    def _decode(self, item: ItemState) -> None:
        try:
            with fetched(item.source) as path:
                item.recording_id = recording_id(path)
                item.values["path"] = path
                run_stages([item], [self.decode])
        except ItemError as error:
            item.failure = Failure.of("fetch", error)


@contextmanager
def opened_mill(folder: Path) -> Iterator[Mill]:
    """The whole corpus in a new folder."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        make_corpus(folder, port=server.getsockname()[1])
        sources = _listed(folder, [*AUDIO_PATTERNS, PLAYLISTS])
        left_alone = frozenset(sources.keys() - _listed(folder, list(AUDIO_PATTERNS)).keys())
        stage = PyavDecode(PyavDecode.Spec(max_hours=MAX_HOURS))
        stage.open()
        try:
            yield Mill(folder, server, sources, left_alone, NamedStage("decode", stage))
        finally:
            stage.close()


def _listed(folder: Path, include: list[str]) -> dict[str, Source]:
    sources = list_inputs(InputsSpec(uri=str(folder), include=include)).sources
    return {source.uri.removeprefix(f"{folder}/"): source for source in sources}
