"""What was found out about a machine: findings in sections, as text and as JSON."""

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "missing", "setting", "broken"]
MARKS: dict[State, str] = {"ok": "✓", "missing": "–", "setting": "…", "broken": "✗"}
MEANINGS: dict[State, str] = {
    "ok": "there",
    "missing": "not there",
    "setting": "works once a setting is given",
    "broken": "there, but does not work",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a machine may have."""

    name: str
    state: State
    found: str
    gives: str = ""
    """What it would give, or why it matters; said only where it is not simply there."""
    how: str = ""
    """How to get it."""


@dataclass(frozen=True, slots=True)
class Section:
    """Findings that belong together."""

    title: str
    findings: tuple[Finding, ...]
    brief: bool = False
    """What is there is said in one paragraph: for long lists of little news."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was looked at, in order."""

    sections: tuple[Section, ...]

    def find(self, title: str, name: str) -> Finding:
        """The finding of that name; a `KeyError` if nobody looked."""
        for section in self.sections:
            for finding in section.findings:
                if (section.title, finding.name) == (title, name):
                    return finding
        raise KeyError(f"{title}: {name}")

    def to_json(self) -> dict[str, Any]:
        """Sections by title, findings as plain values."""
        return {
            section.title: [asdict(finding) for finding in section.findings]
            for section in self.sections
        }

    def to_text(self) -> str:
        """The lines, without colours."""
        return "\n".join(line for _, line in self.lines())

    def lines(self) -> Iterator[tuple[State | None, str]]:
        """Lines for a terminal, each with the state that it speaks of.

        What is not simply there comes with what it gives and how to get it; in a section that is
        brief, what is there stands in one paragraph.
        """
        yield None, "   ".join(f"{mark} {MEANINGS[state]}" for state, mark in MARKS.items())
        for section in self.sections:
            yield None, ""
            yield None, section.title
            shown = [f for f in section.findings if not (section.brief and f.state == "ok")]
            width = max((len(finding.name) for finding in shown), default=0)
            for finding in shown:
                mark = MARKS[finding.state]
                yield finding.state, f"  {mark} {finding.name:<{width}}  {finding.found}".rstrip()
                for line in advice(finding):
                    yield None, f"{'':{width + 6}}{line}"
            if section.brief:
                there = [f"{f.name} {f.found}" for f in section.findings if f.state == "ok"]
                for line in textwrap.wrap(", ".join(there), 92, break_on_hyphens=False):
                    yield "ok", f"    {line}"


def advice(finding: Finding) -> list[str]:
    """Why a thing that is not simply there matters, and how to get it, a line each."""
    if finding.state == "ok":
        return []
    word = "why" if finding.state == "broken" else "gives"
    why = [f"{word}: {finding.gives}"] if finding.gives else []
    return why + ([f"how: {finding.how}"] if finding.how else [])


def look(name: str, question: Callable[[], Finding | Iterable[Finding]]) -> list[Finding]:
    """Findings of a question; one that goes wrong is itself a finding, so that the rest is seen."""
    findings: list[Finding] = []
    try:
        answer = question()
        for finding in [answer] if isinstance(answer, Finding) else answer:
            findings.append(finding)  # one by one: what came before an error is kept
    except Exception as error:  # noqa: BLE001  (whatever is wrong here is what a doctor is for)
        cause = f"{type(error).__name__}: {one_line(str(error))}"
        findings.append(Finding(name, "broken", cause))
    return findings


def one_line(text: str) -> str:
    """The text without line breaks, cut to what a line can hold."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:299] + "…"
