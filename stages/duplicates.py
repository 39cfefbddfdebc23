"""Which recordings are the same sound under another encoding."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from stages.base import DatasetStage, Duplicate, StageSpec
from stages.fingerprint import MINHASH_SCHEME


class MinhashDuplicates(DatasetStage):
    """Links recordings whose sketches agree; of each group the longest and least encoded stays.

    Candidates come from locality-sensitive hashing (datasketch), so the cost grows with the number
    of recordings, not of pairs; each candidate is then held against the threshold.
    """

    class Spec(StageSpec):
        """When two recordings are one."""

        threshold: float = Field(default=0.15, ge=0.05, le=1.0)
        """Share of landmarks in common (Jaccard, 0-1). Measured over 123 recordings: re-encodings
        of one 0.18 (narrow-band AMR) to 1, different ones at most 0.08."""

    spec: Spec
    name, engine = "duplicates", "minhash"
    reads: ClassVar = frozenset({"sketch"})
    writes: ClassVar = frozenset[str]()
    speed_x_real_time = 1e6

    def describe(self) -> str:
        from importlib.metadata import version

        return f"datasketch {version('datasketch')} MinHash LSH"

    def link(self, recordings: Sequence[Mapping[str, Any]]) -> list[Duplicate]:
        rows = sorted((r for r in recordings if len(r["sketch"])), key=_rank)
        if not rows:
            return []
        groups = self._groups(rows)
        found = []
        for members in groups:
            kept, *repeats = members  # in rank order: the best comes first
            for row in repeats:
                share = similarity(kept["sketch"], row["sketch"])
                found.append(Duplicate(row["source_id"], kept["source_id"], share))
        return sorted(found, key=lambda duplicate: duplicate.source_id)

    def _groups(self, rows: list[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
        """Connected groups of two or more, each in rank order."""
        from datasketch import MinHash, MinHashLSH

        num_values = len(rows[0]["sketch"])
        # The index is asked for half the threshold, so that hardly a true pair is missed; what it
        # finds too much, the exact comparison of the sketches throws out.
        index = MinHashLSH(threshold=self.spec.threshold / 2, num_perm=num_values)
        root = list(range(len(rows)))

        def find(number: int) -> int:
            while root[number] != number:
                root[number] = root[root[number]]
                number = root[number]
            return number

        for number, row in enumerate(rows):
            minhash = MinHash(
                hashvalues=np.asarray(row["sketch"], np.uint32), scheme=MINHASH_SCHEME
            )
            for other in sorted(index.query(minhash)):
                share = similarity(rows[other]["sketch"], row["sketch"])
                if share >= self.spec.threshold:
                    low, high = sorted((find(other), find(number)))
                    root[high] = low
            index.insert(number, minhash)
        groups: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for number, row in enumerate(rows):
            groups[find(number)].append(row)
        return [members for members in groups.values() if len(members) > 1]


def similarity(one: Sequence[int], other: Sequence[int]) -> float:
    """Estimated share of landmarks that two recordings have in common, 0 to 1."""
    return float(np.mean(np.asarray(one) == np.asarray(other)))


def _rank(row: Mapping[str, Any]) -> tuple[int, int, str]:
    """Longest first, to the second; among those the largest file, which lost least in encoding."""
    return -round(row["decoded_s"]), -int(row["size_bytes"]), str(row["uri"])
