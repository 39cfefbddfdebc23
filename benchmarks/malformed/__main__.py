"""Writes the corpus of bad input to a folder, and `expected.json` beside the families.

    python -m benchmarks.malformed OUT [NAME ...]

`NAME` picks kinds by name or family, e.g. `torn` or `bombs/opus-day`; without one all are made.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.malformed.kinds import KINDS, make_corpus, write_expected


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the corpus; 2 for a name that there is not and a folder that is not empty."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="a new or empty folder")
    parser.add_argument("names", nargs="*", help="kinds or families, e.g. torn bombs/opus-day")
    arguments = parser.parse_args(argv)
    wanted = set(arguments.names)
    known = {kind.name for kind in KINDS} | {kind.family for kind in KINDS}
    if unknown := wanted - known:
        print(f"no kind or family is called {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    picked = [kind for kind in KINDS if not wanted or {kind.name, kind.family} & wanted]
    try:
        made = make_corpus(arguments.out, picked)
    except FileExistsError as error:
        print(error, file=sys.stderr)
        return 2
    write_expected(arguments.out / "expected.json", made)
    print(f"{len(made)} kinds in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
