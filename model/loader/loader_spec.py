"""What decides every batch, and nothing else."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, TypeVar

from model.loader.sample import Sample
from schemas.errors import SpecError

Laid = TypeVar("Laid", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderSource(Generic[Laid]):
    """The shards of one output, and what is made of their rows."""

    uri: str
    """Output folder of a job, or its `shards/`; local, or any URL that fsspec knows."""
    sample: Sample[Laid]
    weight: float = 1.0
    """Share of the positions in use, relative to the other sources."""
    version: int | None = None
    """Of the output's manifest, for an output that has grown since; null: as it is now."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise SpecError(
                f"source {self.uri}: weight {self.weight}, wanted a number above 0; leave a source "
                "out that is not wanted"
            )

    @property
    def exact_weight(self) -> Fraction:
        """The weight as it is written, 0.1 and not its nearest double."""
        return Fraction(str(self.weight))


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderSpec(Generic[Laid]):
    """With the manifests of its sources, all that a step depends on."""

    sources: tuple[LoaderSource[Laid], ...]
    context_length: int
    """Positions of a sequence."""
    sequences_per_step: int
    """Global batch, over all ranks."""
    seed: int = 0
    window_groups: int = 16
    """Row groups whose samples are shuffled and packed together, and are in memory together."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise SpecError("loader without sources; name the output of a job")
        for name, least in (
            ("context_length", 1),
            ("sequences_per_step", 1),
            ("seed", 0),
            ("window_groups", 1),
        ):
            if (value := getattr(self, name)) < least:
                raise SpecError(f"loader: {name} is {value}, wanted {least} or more")

    def facts(self, manifests: list[str]) -> dict[str, Any]:
        """The same as plain values, with the digest of each source's manifest."""
        return {
            "seed": self.seed,
            "context_length": self.context_length,
            "sequences_per_step": self.sequences_per_step,
            "window_groups": self.window_groups,
            "sources": [
                {
                    "manifest": manifest,
                    "sample": source.sample.name,
                    "weight": str(source.exact_weight),
                }
                for source, manifest in zip(self.sources, manifests, strict=True)
            ],
        }
