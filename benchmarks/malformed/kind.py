"""What a kind of bad input is, and what must become of it.

The expectation says what a user wants, not what a decoder happens to do: what is good in a file is
kept and every damage is a flag; nothing is kept where there is no audio to be had.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

Seconds = tuple[float, float]
"""Shortest and longest that is right, in seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What must become of an input: kept, failed with a class, or never listed.

    More than one may be right; `kept=False` without `classes` and `unlisted` is never right.
    """

    kept: bool = False
    flags: frozenset[str] = frozenset()
    """All of these stand in `decode_flags` if it is kept."""
    may_flag: frozenset[str] = frozenset()
    """These may stand there too; any other is wrong."""
    some_flag: bool = False
    """One of them at least must stand there; which is the decoder's choice."""
    seconds: Seconds | None = None
    """Decoded seconds if it is kept; None where any number is right."""
    classes: frozenset[str] = frozenset()
    """Error classes that are right if it fails."""
    unlisted: bool = False
    """It is right that the listing leaves it alone or refuses it."""

    def or_failed(self, *classes: str) -> "Expected":
        """The same, and a failure of one of these classes is right as well."""
        return replace(self, classes=self.classes | frozenset(classes))

    def to_json(self) -> dict[str, object]:
        """For `expected.json`: sets as sorted lists."""
        return {
            "kept": self.kept,
            "flags": sorted(self.flags),
            "may_flag": sorted(self.may_flag),
            "some_flag": self.some_flag,
            "seconds": self.seconds,
            "classes": sorted(self.classes),
            "unlisted": self.unlisted,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of an input. All empty: no stage ever saw it, the listing left it out."""

    flags: frozenset[str] | None = None
    """Of what was kept; None if it was not."""
    seconds: float | None = None
    error_class: str | None = None

    def __str__(self) -> str:
        if self.error_class:
            return f"failed with {self.error_class}"
        if self.flags is None:
            return "not listed"
        length = "" if self.seconds is None else f", {self.seconds:.2f} s"
        return f"kept with {', '.join(sorted(self.flags)) or 'no flag'}{length}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Where a kind is made."""

    path: Path
    """The file to write. Its folder is there; what a lure is after is written beside it."""
    port: int
    """Loopback port that lures of the network name: listen there to see them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of bad input."""

    name: str
    family: str
    file: str
    """Name of the file in the family's folder; bytes that are no UTF-8 as `os.fsdecode` has it."""
    how: str
    """How it is made, in words."""
    make: Callable[[Setting], None]
    expected: Expected
    sounds_like_voice: bool = False
    """What is kept of it must be as loud as the source: salvage, and no burst of noise."""
    after_listing: Callable[[Path], None] | None = None
    """Done to the file between listing and reading."""
    while_read: Callable[[Path], AbstractContextManager[None]] | None = None
    """Done to the file while it is read: as long as the context is open."""
    uri: str | None = None
    """A reference in place of a file; `{folder}` and `{port}` are filled in."""

    @property
    def relative_path(self) -> str:
        return f"{self.family}/{self.file}"

    @property
    def shown_path(self) -> str:
        """The path as the tables show it: a byte that is no UTF-8 as backslash, x and hex."""
        return "".join(
            f"\\x{ord(letter) - 0xDC00:02x}" if 0xDC80 <= ord(letter) <= 0xDCFF else letter
            for letter in self.relative_path
        )


def clean(seconds: float | Seconds | None = 4.0, *, may_flag: str = "") -> Expected:
    """Kept, without a flag but those of `may_flag`; a length alone allows codecs their 0.15 s."""
    if isinstance(seconds, float):
        seconds = (seconds - 0.15, seconds + 0.15)
    return Expected(kept=True, seconds=seconds, may_flag=frozenset(may_flag.split()))


def salvaged(flags: str, seconds: Seconds, *, may_flag: str = "") -> Expected:
    """Kept in part, with all of these flags (words of one string)."""
    return Expected(
        kept=True,
        flags=frozenset(flags.split()),
        may_flag=frozenset(may_flag.split()),
        seconds=seconds,
    )


def flagged(flags: str, seconds: Seconds) -> Expected:
    """Kept in part, with one of these flags at least (words of one string), whichever fits."""
    return Expected(kept=True, may_flag=frozenset(flags.split()), some_flag=True, seconds=seconds)


def failed(*classes: str) -> Expected:
    """Failed with one of these classes."""
    return Expected(classes=frozenset(classes))


def from_bytes(
    family: str,
    name: str,
    ending: str,
    how: str,
    content: Callable[[], bytes],
    expected: Expected,
    *,
    voice: bool = False,
) -> Kind:
    """A kind that is a file of these bytes. Called when the file is made, and not before."""

    def make(setting: Setting) -> None:
        setting.path.write_bytes(content())

    return Kind(
        name=f"{family}/{name}",
        family=family,
        file=f"{name}.{ending}",
        how=how,
        make=make,
        expected=expected,
        sounds_like_voice=voice,
    )
