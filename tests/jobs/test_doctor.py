"""The doctor sees everything, says what to do about it, and survives whatever it meets."""

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from pydantic import Field

from jobs import doctor_machine
from jobs.diagnosis import Diagnosis, Finding, Section, look
from jobs.doctor import diagnose, run_doctor
from jobs.doctor_engines import engines, tokenizers
from schemas.errors import EngineMissingError
from stages import registry
from stages.base import RecordingStage, Resources, StageSpec

Usage = namedtuple("Usage", ["total", "used", "free"])
GIB = 2**30


class PlainEngine(RecordingStage):
    """Works at once."""

    name: ClassVar[str] = "toy"
    engine: ClassVar[str] = "plain"
    Spec: ClassVar[type[StageSpec]] = StageSpec
    reads: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]] = frozenset()
    speed_x_real_time: ClassVar[float] = 50.0

    def describe(self) -> str:
        return "plain 1.2"

    def resources(self) -> Resources:
        return Resources(num_gpus=0.5)

    def process(self, recording: Any) -> Any:
        raise AssertionError("the doctor runs nothing")

    def open(self) -> None:
        raise AssertionError("the doctor loads nothing")


class ModelSpec(StageSpec):
    model: str = Field(description="folder of the converted model")


class ModelEngine(PlainEngine):
    """Hears more."""

    Spec = ModelSpec

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        if not Path(spec.model).is_dir():
            raise EngineMissingError(f"there is no folder {spec.model!r}")


class PackageEngine(ModelEngine):
    """Wants a package as well."""

    def __init__(self, spec: ModelSpec) -> None:
        raise EngineMissingError("needs the package 'far-away', which is not installed")


class UrlSpec(StageSpec):
    url: str = Field(pattern="^http")


class UrlEngine(PlainEngine):
    """Asks somebody else."""

    Spec = UrlSpec


class ExplodingEngine(PlainEngine):
    """Has a bug."""

    def __init__(self, spec: StageSpec) -> None:
        raise ZeroDivisionError("of all things")


@pytest.fixture
def toy_engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    """Findings about a stage with one engine of every sort, by engine."""
    module = ModuleType("toy_engines")
    kinds = (PlainEngine, ModelEngine, PackageEngine, UrlEngine, ExplodingEngine)
    module.__dict__.update({kind.__name__: kind for kind in kinds})
    monkeypatch.setitem(sys.modules, "toy_engines", module)
    table = {kind.__name__: f"toy_engines:{kind.__name__}" for kind in kinds}
    table["Absent"] = "a_module_that_is_nowhere:Absent"
    monkeypatch.setattr(registry, "ENGINES", {"toy": table})
    return {finding.name.removeprefix("toy: "): finding for finding in engines()}


def test_an_engine_that_works_says_what_it_is_and_needs(toy_engines: dict[str, Finding]) -> None:
    finding = toy_engines["PlainEngine"]
    assert finding.state == "ok"
    assert finding.found == "plain 1.2; about 50 x real time on 0.5 GPU"


def test_an_engine_without_its_model_names_the_setting(toy_engines: dict[str, Finding]) -> None:
    finding = toy_engines["ModelEngine"]
    assert finding.state == "setting"
    assert finding.found == "needs stages.toy.model=FOLDER"
    assert finding.gives == "Hears more."
    assert finding.how == "model: folder of the converted model"
    assert toy_engines["UrlEngine"].found == "needs stages.toy.url=URL"


def test_a_missing_package_is_said_before_a_missing_model(toy_engines: dict[str, Finding]) -> None:
    finding = toy_engines["PackageEngine"]
    assert finding.state == "missing"
    assert "far-away" in finding.found


def test_engines_that_cannot_be_imported_or_built_are_findings(
    toy_engines: dict[str, Finding],
) -> None:
    assert toy_engines["Absent"].state == "missing"
    assert "a_module_that_is_nowhere" in toy_engines["Absent"].found
    assert toy_engines["ExplodingEngine"].state == "broken"
    assert toy_engines["ExplodingEngine"].found == "ZeroDivisionError: of all things"


def test_the_bundled_tokenizer_is_there_and_a_released_one_wants_a_folder() -> None:
    small, mimo = tokenizers()
    assert (small.state, mimo.state) == ("ok", "setting")
    assert "trained on synthetic voices" in small.found
    assert mimo.found == "needs tokenize.model=FOLDER"


def test_every_engine_of_the_registry_is_examined_and_none_is_broken() -> None:
    diagnosis = diagnose()
    for stage, table in registry.ENGINES.items():
        for engine in table:
            finding = diagnosis.find("Engines", f"{stage}: {engine}")
            assert finding.state != "broken", finding
    assert diagnosis.find("Engines", "vad: silero").state == "ok"
    assert diagnosis.find("Engines", "asr: pocketsphinx").found.startswith("pocketsphinx 5.1")
    assert diagnosis.find("Audio", "FFmpeg").state == "ok"
    assert diagnosis.find("GPU", "torch SDPA").state == "ok"
    assert diagnosis.find("Cluster", "Ray").found.startswith("2.60")


def test_missing_packages_are_findings_and_the_rest_is_still_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("torch", "av", "psutil", "packaging.requirements"):
        monkeypatch.setitem(sys.modules, name, None)
    diagnosis = diagnose()
    assert "torch" in diagnosis.find("GPU", "GPU").found
    assert "psutil" in diagnosis.find("Machine", "processors").found
    assert diagnosis.find("Machine", "CPUs").state == "ok"
    for title, name in (("GPU", "GPU"), ("Audio", "FFmpeg"), ("Packages", "packages")):
        assert diagnosis.find(title, name).state == "broken"
    assert diagnosis.find("Machine", "Python").state == "ok"
    assert diagnosis.find("Engines", "safety: rules").state == "ok"


def test_a_gpu_is_named_with_its_memory_and_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    card = SimpleNamespace(name="Acme 9", total_memory=80 * GIB, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    (finding,) = doctor_machine.graphics()
    assert finding.state == "ok"
    assert finding.found.startswith("Acme 9, 80 GiB, compute capability 9.0")


@pytest.mark.parametrize(
    ("has_gpu", "has_flash", "used"),
    [
        (False, False, "torch SDPA"),
        (False, True, "torch SDPA"),
        (True, False, "torch varlen"),
        (True, True, "flash-attn"),
    ],
)
def test_the_best_attention_kernel_that_can_run_is_used(
    monkeypatch: pytest.MonkeyPatch, has_gpu: bool, has_flash: bool, used: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    found = {"flash_attn"} if has_flash else set()
    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(__version__="2.8"))
    monkeypatch.setattr(
        doctor_machine, "find_spec", lambda name: name in found or "varlen" in name or None
    )
    kernels = {finding.name: finding for finding in doctor_machine.attention()}
    assert kernels["used here"].found == used
    assert kernels["flash-attn"].state == ("ok" if has_gpu and has_flash else "missing")


def test_a_full_disk_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000 * GIB, 960 * GIB, 40 * GIB))
    here, ray_folder, *_ = doctor_machine.disks()
    assert (here.state, ray_folder.state) == ("broken", "broken")
    assert "RAY_TMPDIR" in ray_folder.how


def test_packages_are_held_against_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["numpy>=2", "scipy<1", "no-such-package-anywhere>=1", "flash-attn; extra == 'flash'"]
    monkeypatch.setattr(doctor_machine, "requires", lambda name: asked)
    monkeypatch.setattr(
        doctor_machine,
        "version",
        lambda name, real=doctor_machine.version: "1.0" if name == "audiomill" else real(name),
    )
    states = {finding.name: finding.state for finding in doctor_machine.packages()}
    assert states == {
        "audiomill": "ok",
        "numpy": "ok",
        "scipy": "broken",
        "no-such-package-anywhere": "missing",
    }


def test_models_of_the_cache_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert doctor_machine.models()[0].state == "missing"
    (tmp_path / "hub" / "models--acme--whisper-x").mkdir(parents=True)
    assert doctor_machine.models()[0].found.startswith("acme/whisper-x in ")


def test_advice_stands_only_where_something_is_not_simply_there() -> None:
    rows = (
        Finding("here", "ok", "1.0", "unsaid", "unsaid"),
        Finding("gone", "missing", "", "a gift", "a way"),
        Finding("odd", "broken", "x", "a reason"),
    )
    text = Diagnosis((Section("S", rows), Section("B", rows[:1], brief=True))).to_text()
    assert "unsaid" not in text
    assert "– gone\n          gives: a gift\n          how: a way" in text
    assert "✗ odd   x\n          why: a reason" in text
    assert text.endswith("B\n    here 1.0")


def test_a_question_that_goes_wrong_is_a_finding() -> None:
    def question() -> Finding:
        raise RuntimeError("two\nlines " + "x" * 400)

    (finding,) = look("q", question)
    assert (finding.name, finding.state) == ("q", "broken")
    assert finding.found.startswith("RuntimeError: two lines x")
    assert len(finding.found) < 330


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_prints_the_diagnosis_and_is_content(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_doctor(as_json) == 0
    printed = capsys.readouterr().out
    if as_json:
        sections = json.loads(printed)
        assert [*sections] == [
            "Machine",
            "GPU",
            "Engines",
            "Models",
            "Audio",
            "Cluster",
            "Packages",
        ]
        assert all(finding["state"] for finding in sections["Engines"])
    else:
        assert "✓ vad: silero" in printed
        assert "needs tokenize.model=FOLDER" in printed
