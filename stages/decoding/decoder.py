"""Reads files in a child process, which may crash, eat memory, hang or lie, and harms nobody.

The child is kept over many files, because starting one takes 0.3 s, and replaced when it died, has
served enough of them, or has grown. Nothing that it says is taken unchecked. What no check can see:
a child that a file has taken over may falsify the samples of later files until it is replaced.
"""

import errno
import io
import logging
import threading
import time
from dataclasses import asdict
from typing import Never

from pydantic import TypeAdapter, ValidationError

from schemas.codes import Waveform
from schemas.errors import ItemError, StorageError
from schemas.failures import ERROR_CLASSES
from stages.decoding.confinement import ADDRESS_SPACE_BYTES
from stages.decoding.contents import Answer, Contents, Limits
from stages.decoding.process import ChildDiedError, ChildProcess
from stages.decoding.samples import SampleStore
from stages.downmix import LARGEST_SAMPLE

ATTEMPTS = 2
"""A child may be ill from an earlier file, so a file gets a fresh one before it is blamed."""
MOST_FILES = 1000
MOST_RESIDENT_BYTES = 512 << 20
"""FFmpeg's resampler keeps memory; a fresh child holds 50 MB."""
_LONGEST_MESSAGE = 1000
_ADVICE = {
    "CRASH": "it is broken or an attack; leave it out, or look at it on another machine",
    "OOM_ITEM": "its header may lie; leave it out, or convert it to WAV",
    "TIMEOUT": "leave it out, or raise stages.decode.wall_s_per_file",
}
_ANSWER = TypeAdapter(Answer)
_log = logging.getLogger(__name__)


class IsolatedDecoder:
    """Keeps a child that runs `function` (`module:name`, see `stages.decoding.child.Read`).

    Nothing is started before the first file. One file at a time; more threads wait.
    """

    def __init__(
        self,
        function: str = "stages.decoding.reading:read_audio",
        *,
        attempts: int = ATTEMPTS,
        most_files: int = MOST_FILES,
        most_resident_bytes: int = MOST_RESIDENT_BYTES,
    ) -> None:
        self._function = function
        self._attempts = attempts
        self._most_files = most_files
        self._most_resident_bytes = most_resident_bytes
        self._child: ChildProcess | None = None
        self._num_files = 0
        self._cpu_s_before = 0.0
        self._lock = threading.Lock()

    @property
    def child(self) -> ChildProcess | None:
        """The child that the next file would meet, if it is still there by then."""
        return self._child

    def cpu_s(self) -> float:
        """CPU seconds of all children so far; they are not among this process' own."""
        return self._cpu_s_before + (self._child.cpu_s() if self._child else 0.0)

    def read(
        self, file: io.FileIO, name: str, limits: Limits, *, wall_s: float
    ) -> tuple[Contents, Waveform]:
        """Facts of an open file and its samples, shape `[num_samples]`, read-only.

        Raises `ItemError` for what is wrong with the file, among it CRASH, OOM_ITEM and TIMEOUT
        (after `wall_s` seconds) where the child ended over it; `StorageError` for what is wrong
        with this machine; `RuntimeError` for a bug in the child.
        """
        with self._lock:
            for attempt in range(1, self._attempts + 1):
                try:
                    return self._attempt(file, name, limits, wall_s)
                except ChildDiedError as death:
                    _log.warning("decoder %s on %r (try %d)", death, name, attempt)
                    if attempt == self._attempts or death.error_class == "TIMEOUT":
                        raise _blame(death, name, attempt, wall_s) from death
        raise AssertionError("not reached")

    def close(self) -> None:
        """Ends the child; the next file gets a new one."""
        if self._child is not None:
            self._cpu_s_before += self._child.cpu_s()
            self._child.end()
            self._child = None

    def _attempt(
        self, file: io.FileIO, name: str, limits: Limits, wall_s: float
    ) -> tuple[Contents, Waveform]:
        child = self._ready_child()
        message = {"name": name, "limits": asdict(limits), "cpu_s": wall_s}
        try:
            file.seek(0)
            with SampleStore(limits.max_bytes) as store:
                fds = [file.fileno(), store.fd]
                answer = child.ask(message, fds, time.monotonic() + wall_s)
                self._num_files += 1
                return _taken(answer, store, limits)
        except (ItemError, RuntimeError):
            raise  # it did answer
        except OSError as error:
            self.close()
            raise StorageError(f"no memory for the samples of {name}: {error.strerror}") from error
        except BaseException:
            self.close()  # no one knows what stands on its line
            raise

    def _ready_child(self) -> ChildProcess:
        child = self._child
        if child is not None and (
            not child.is_alive()
            or self._num_files >= self._most_files
            or child.resident_bytes() > self._most_resident_bytes
        ):
            self.close()
        if self._child is None:
            self._child = ChildProcess(self._function)
            self._num_files = 0
            _log.info("decoder %d is up, with %s", self._child.pid, self._child.held)
            if not self._child.held.get("few_system_calls"):
                _log.warning("this kernel filters no system calls: decoders have only limits")
        return self._child


def _taken(answer: bytes, store: SampleStore, limits: Limits) -> tuple[Contents, Waveform]:
    """What an answer holds, once it is in form, within the limits, and its samples are numbers."""
    try:
        found = _ANSWER.validate_json(answer, strict=True)
    except ValidationError:
        _lied("answered out of form")
    if found.contents is not None:
        return found.contents, _samples_of(found.contents, store, limits)
    if found.failed is not None and found.failed[0] in ERROR_CLASSES:
        raise ItemError(found.failed[0], found.failed[1][:_LONGEST_MESSAGE])
    if found.unforeseen is not None:
        error = RuntimeError(f"in the decoder: {found.unforeseen.strip().rpartition(chr(10))[2]}")
        error.add_note(found.unforeseen[: 10 * _LONGEST_MESSAGE])
        raise error
    _lied("answered out of form")


def _samples_of(contents: Contents, store: SampleStore, limits: Limits) -> Waveform:
    if contents.beyond(limits):
        _lied("answered with more than was allowed")
    try:
        samples = store.finished(contents.num_samples)
    except OSError as error:
        if error.errno == errno.EBUSY:
            _lied("would not let go of its samples")
        raise
    if samples.size and not max(float(samples.max()), -float(samples.min())) <= LARGEST_SAMPLE:
        _lied("answered with what is no number")
    return samples


def _lied(how: str) -> Never:
    raise ChildDiedError("CRASH", f"{how} and was killed")


def _blame(death: ChildDiedError, name: str, attempts: int, wall_s: float) -> ItemError:
    limit = {
        "OOM_ITEM": f" (limit {ADDRESS_SPACE_BYTES >> 20} MB)",
        "TIMEOUT": f" (limit {wall_s:.0f} s)",
    }.get(death.error_class, "")
    tries = f", {attempts} times" if attempts > 1 else ""
    advice = _ADVICE[death.error_class]
    return ItemError(death.error_class, f"{name}: its decoder {death}{limit}{tries}; {advice}")
