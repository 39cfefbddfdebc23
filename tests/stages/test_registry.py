"""The registry: every engine it names exists and keeps the contract of a stage."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import EngineMissingError, SpecError
from stages import registry
from stages.base import WORKING_VALUES, DatasetStage, RecordingStage, SegmentStage
from stages.registry import ENGINES, engines_of, stage_class

NAMED = [(stage, engine) for stage, engines in ENGINES.items() for engine in engines]


@pytest.mark.parametrize(("stage", "engine"), NAMED)
def test_every_engine_is_what_its_name_says(stage: str, engine: str) -> None:
    found = stage_class(stage, engine)
    assert (found.name, found.engine) == (stage, engine)
    assert issubclass(found, RecordingStage | SegmentStage | DatasetStage)
    assert found.speed_x_real_time > 0
    assert found.Spec.model_config["extra"] == "forbid"


@pytest.mark.parametrize(("stage", "engine"), NAMED)
def test_what_a_stage_reads_and_writes_is_a_column_or_a_working_value(
    stage: str, engine: str
) -> None:
    from schemas.recordings import RECORDINGS
    from schemas.segments import SEGMENTS

    known = {column.name for table in (RECORDINGS, SEGMENTS) for column in table.columns}
    found = stage_class(stage, engine)
    assert found.reads | found.writes <= known | WORKING_VALUES.keys() | {"sketch"}


def test_the_first_engine_of_a_stage_is_its_default() -> None:
    assert stage_class("diarize") is stage_class("diarize", "embeddings")


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'decode'"):
        engines_of("decoed")
    with pytest.raises(SpecError, match="did you mean 'pyannote'"):
        stage_class("diarize", "pyanote")


class FakeStage:
    """Stands for an engine in somebody else's package."""


def entry_points_are(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    def entry_points(*, group: str) -> Sequence[EntryPoint]:
        return [EntryPoint(name, value, group)] if group == "audiomill.engines" else []

    monkeypatch.setattr(registry, "entry_points", entry_points)


def test_another_package_can_add_an_engine_but_not_replace_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry_points_are(monkeypatch, "vad.theirs", f"{__name__}:FakeStage")
    assert set(engines_of("vad")) == {"silero", "theirs"}
    entry_points_are(monkeypatch, "vad.silero", f"{__name__}:FakeStage")
    assert engines_of("vad") == ENGINES["vad"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points_are(monkeypatch, "vad.theirs", "no_such_package_here:Stage")
    with pytest.raises(EngineMissingError, match="needs the package 'no_such_package_here'"):
        stage_class("vad", "theirs")


def test_naming_all_engines_loads_no_heavy_package() -> None:
    heavy = ["torch", "onnxruntime", "pyannote", "ray", "librosa", "av", "scipy", "faster_whisper"]
    code = (
        "import sys\n"
        "from stages.registry import ENGINES, stage_class\n"
        "[stage_class(s, e) for s, engines in ENGINES.items() for e in engines]\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    root = Path(__file__).resolve().parents[2]
    done: Any = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
