"""I. What is no plain file, what changes under the reader, and names that mean something else."""

import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import mp3, wav
from benchmarks.malformed.kind import Expected, Kind, Setting, clean, failed
from benchmarks.malformed.voice import voice

_FAMILY = "filesystem"
_UNREADABLE = failed("UNREADABLE")
_GROWS_EVERY_S = 0.002
_GROWS_TO_BYTES = 20 << 20


def _kind(
    name: str,
    file: str,
    how: str,
    make: Callable[[Path], None],
    expected: Expected,
    *,
    after_listing: Callable[[Path], None] | None = None,
) -> Kind:
    def make_afresh(setting: Setting) -> None:
        with suppress(FileNotFoundError):
            setting.path.unlink()
        make(setting.path)

    return Kind(
        name=f"{_FAMILY}/{name}",
        family=_FAMILY,
        file=file,
        how=how,
        make=make_afresh,
        expected=expected,
        sounds_like_voice=expected.kept,
        after_listing=after_listing,
    )


def _good(path: Path) -> None:
    """A sound file, spoken at a pitch of its own: equal bytes would make it a repeat of another."""
    pitch_hz = 100.0 + zlib.crc32(os.fsencode(path.name)) % 61
    path.write_bytes(wav.simple(wav.pcm16(voice(pitch_hz=pitch_hz))))


def _without_permission(path: Path) -> None:
    _good(path)
    path.chmod(0)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no audio in here\n", encoding="utf-8")


def _other_content(path: Path) -> None:
    path.write_bytes(wav.simple(wav.pcm16(voice(pitch_hz=180.0, seconds=3.0))))


@contextmanager
def _growing(path: Path) -> Iterator[None]:
    """Appends the frames of four seconds every 2 ms while the context is open, up to 20 MB."""
    more = mp3.without_length(encoded.mp3())
    stop = threading.Event()

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.wait(_GROWS_EVERY_S) and file.tell() < _GROWS_TO_BYTES:
                file.write(more)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def _grows() -> Kind:
    def make(setting: Setting) -> None:
        setting.path.write_bytes(encoded.mp3(pitch_hz=140.0))

    return Kind(
        name=f"{_FAMILY}/grows",
        family=_FAMILY,
        file="grows.mp3",
        how="a recorder goes on writing while the file is read",
        make=make,
        expected=clean((3.8, 86_400.0), may_flag="DURATION_MISMATCH DECODE_ERROR").or_failed(
            "CHANGED", "TOO_LONG"
        ),
        sounds_like_voice=True,
        while_read=_growing,
    )


def _named(name: str, file: str, how: str) -> Kind:
    return _kind(name, file, how, _good, clean())


KINDS: tuple[Kind, ...] = (
    _kind("fifo", "fifo.wav", "a FIFO that nobody writes to", os.mkfifo, _UNREADABLE),
    Kind(
        name=f"{_FAMILY}/folder",
        family=_FAMILY,
        file="folder.wav",
        how="a folder with the name of a file",
        make=lambda setting: _folder(setting.path),
        expected=Expected(classes=frozenset({"UNREADABLE"}), unlisted=True),
    ),
    _kind(
        "link-loop",
        "link-loop.wav",
        "a link to itself",
        lambda path: path.symlink_to(path.name),
        _UNREADABLE,
    ),
    _kind(
        "link-to-nothing",
        "link-to-nothing.wav",
        "a link to a file that is gone",
        lambda path: path.symlink_to("gone.wav"),
        _UNREADABLE,
    ),
    _kind(
        "link-to-zero",
        "link-to-zero.wav",
        "a link to /dev/zero, which never ends",
        lambda path: path.symlink_to("/dev/zero"),
        failed("UNREADABLE", "FORBIDDEN_URI"),
    ),
    _kind(
        "no-permission",
        "no-permission.wav",
        "mode 000; root may read it all the same",
        _without_permission,
        clean() if os.geteuid() == 0 else _UNREADABLE,
    ),
    _kind(
        "vanishes",
        "vanishes.wav",
        "deleted between listing and reading",
        _good,
        _UNREADABLE,
        after_listing=lambda path: path.unlink(),
    ),
    _kind(
        "changes",
        "changes.wav",
        "replaced by other audio between listing and reading",
        _good,
        failed("CHANGED"),
        after_listing=_other_content,
    ),
    _grows(),
    _named("name-newline", "two\nlines.wav", "a line break in the name"),
    _named("name-dash", "-i.wav", "a name that reads like an option"),
    _named("name-255-bytes", "n" * 251 + ".wav", "the longest name there can be"),
    _named("name-no-utf8", os.fsdecode(b"caf\xe9.wav"), "Latin-1 in the name"),
    _named("name-turned", "wav.\u202e3pm.wav", "a mark that turns the reading direction"),
    _named("name-protocol", "concat:a.wav|b.wav", "a name that reads like a protocol"),
    _named("name-pattern", "%03d[a]*?.wav", "a name that reads like a pattern"),
)
