"""What diarizers have in common: stretches of bounded length, turns with names, overlap."""

from collections.abc import Iterable, Sequence

from schemas.spans import Span, Turn


def stretches(speech: Sequence[Span], max_samples: int) -> list[list[Span]]:
    """Speech in groups, each within `max_samples` of timeline, cut where the speech is.

    A group begins with a span and takes all that end within the limit; a span longer than that is
    cut.
    """
    groups: list[list[Span]] = []
    for whole in speech:
        start = whole.start_sample
        while start < whole.end_sample:
            piece = Span(start, min(whole.end_sample, start + max_samples))
            if groups and piece.end_sample - groups[-1][0].start_sample <= max_samples:
                groups[-1].append(piece)
            else:
                groups.append([piece])
            start = piece.end_sample
    return groups


def name_turns(turns: Iterable[tuple[int, int, object]]) -> list[Turn]:
    """Turns in order of start, with speakers named S1, S2, ... in order of appearance."""
    ordered = sorted(turns, key=lambda turn: (turn[0], turn[1], str(turn[2])))
    names: dict[object, str] = {}
    return [
        Turn(start, end, names.setdefault(speaker, f"S{len(names) + 1}"))
        for start, end, speaker in ordered
    ]


def overlap_samples(turns: Sequence[Turn]) -> int:
    """Samples in which two or more speakers talk. A speaker does not overlap with themselves."""
    changes: list[tuple[int, int, str]] = []
    for turn in turns:
        changes.append((turn.start_sample, 1, turn.speaker))
        changes.append((turn.end_sample, -1, turn.speaker))
    talking: dict[str, int] = {}
    overlap = last = 0
    for sample, change, speaker in sorted(changes):
        if len(talking) > 1:
            overlap += sample - last
        last = sample
        talking[speaker] = talking.get(speaker, 0) + change
        if not talking[speaker]:
            del talking[speaker]
    return overlap
