"""What is true of a recording, written beside it: transcript, turns (RTTM), text of turns (STM)."""

from pathlib import Path

from jobs.demo.timeline import Timeline, Turn
from jobs.demo.voices import WORK_RATE_HZ


def write_references(folder: Path, recording: str, timeline: Timeline, condition: str) -> None:
    """Writes `RECORDING.txt`, `.rttm` and `.stm`; `condition` says how it sounds, for the STM."""
    turns = sorted(timeline.turns, key=lambda turn: turn.start_sample)
    spans = sorted((first, last, turn.line.voice) for turn in turns for first, last in turn.spans)
    rttm = [
        f"SPEAKER {recording} 1 {_seconds(first)} {_seconds(last - first)} <NA> <NA> {voice} "
        "<NA> <NA>"
        for first, last, voice in spans
    ]
    stm = [
        f"{recording} 1 {turn.line.voice} {_seconds(turn.start_sample)} "
        f"{_seconds(turn.end_sample)} <{condition},{_company(turn, turns)}> {turn.line.text}"
        for turn in turns
    ]
    texts = [turn.line.text for turn in turns]
    for suffix, lines in (("txt", texts), ("rttm", rttm), ("stm", stm)):
        (folder / f"{recording}.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _company(turn: Turn, turns: list[Turn]) -> str:
    """Whether anybody else is heard while this turn lasts."""
    others = (other for other in turns if other is not turn)
    shared = any(
        other.start_sample < turn.end_sample and turn.start_sample < other.end_sample
        for other in others
    )
    return "overlap" if shared else "alone"


def _seconds(samples: int) -> str:
    return f"{samples / WORK_RATE_HZ:.3f}"
