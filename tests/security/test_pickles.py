"""Model files that are programs: no door through which weights come in runs one."""

import ast
import os
import pickle
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from schemas.errors import EngineMissingError, TokenizerError, TrainingError
from stages.diarize.pyannote import PyannoteDiarizer
from stages.mos.squim import Squim, SquimSpec
from tests.stages.diarize.test_pyannote import CONFIG, write_pipeline
from tokenizer import Tokenizer
from tokenizer.training.checkpoints import Checkpoints

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "stages", "tokenizer", "model", "pipeline", "jobs")


class Program:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "the program ran"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """pyannote.audio and what it stands on warn at import and use; none of it is ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_pipeline(tmp_path_factory.mktemp("pyannote"))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A pyannote pipeline of its own for a test to poison."""
    return shutil.copytree(published, tmp_path / "pipeline")


def test_the_program_runs_where_nobody_looks(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Program(tmp_path / "made")))
    assert (tmp_path / "made").is_dir()


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_of_squim(tmp_path: Path, canary: Path, legacy: bool) -> None:
    path = tmp_path / "squim.pt"
    torch.save({"w": Program(canary)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(EngineMissingError, match="does not hold the weights"):
        Squim(SquimSpec(weights=str(path))).open()


@pytest.mark.parametrize(
    "module", ["stages.diarize.speaker_encoder", "tokenizer.evaluation.speaker"]
)
def test_weights_of_the_speaker_encoders(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    import importlib

    path = tmp_path / "pretrained.pt"
    torch.save({"model_state": Program(canary)}, path)
    opened = importlib.import_module(module)
    where = "weights_path" if hasattr(opened, "weights_path") else "_weights_path"
    monkeypatch.setattr(opened, where, lambda: path)
    with pytest.raises(pickle.UnpicklingError):
        opened.SpeakerEncoder()


def test_a_tokenizer_s_weights_are_no_pickle(tmp_path: Path, canary: Path) -> None:
    from tokenizer.small import small_tokenizer

    folder = tmp_path / "tokenizer"
    small_tokenizer(seed=0).save_pretrained(folder)
    torch.save({"w": Program(canary)}, folder / "model.safetensors")
    with pytest.raises(TokenizerError, match="not a safetensors file"):
        Tokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, "4"]}}',
        b'{"w": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}',
        b'{"w": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}',
    ],
)
def test_a_header_made_to_confuse_is_one_line(tmp_path: Path, header: bytes) -> None:
    from tokenizer.safetensors_file import SafetensorsFile

    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(TokenizerError, match="not a safetensors file"):
        SafetensorsFile(path, TokenizerError, "a folder")


def test_a_checkpoint_of_a_training(tmp_path: Path, canary: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    model = torch.nn.Linear(2, 2)
    path = checkpoints.save("stage1", 1, {"model": model}, {}, {"best": 1.0})
    progress: dict[str, Any] = {"best": 0.0}
    checkpoints.load(path, {"model": model}, {}, progress)
    assert progress == {"best": 1.0}

    contents = (path / ".metadata").read_bytes()
    (path / ".metadata").write_bytes(pickle.dumps(Program(canary)))
    with pytest.raises(TrainingError, match=r"asks for posix\.mkdir"):
        checkpoints.load(path, {"model": model}, {}, progress)
    table = pickle.loads(contents)
    for info in table.storage_data.values():
        info.relative_path = "../outside"
    (path / ".metadata").write_bytes(pickle.dumps(table))
    with pytest.raises(TrainingError, match="names a file elsewhere"):
        checkpoints.load(path, {"model": model}, {}, progress)

    path = checkpoints.save("stage1", 2, {"model": model}, {}, {"best": Program(canary)})
    with pytest.raises(TrainingError, match="cannot be resumed"):
        checkpoints.load(path, {"model": model}, {}, progress)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "pipeline: {{name: subprocess.Popen, params: {{args: [mkdir, '{canary}']}}}}",
            "names the",
        ),
        (
            CONFIG.replace("{", "{{").replace("}", "}}") + "preprocessors:\n  audio:\n    name: "
            "subprocess.Popen\n    params: {{args: [mkdir, '{canary}']}}\n",
            "'preprocessors' could",
        ),
        ("pipeline: !!python/object/apply:os.mkdir ['{canary}']", "is no YAML"),
        ("a: &a [1]\npipeline: *a", "aliases"),
    ],
)
def test_a_config_that_names_code(folder: Path, canary: Path, text: str, said: str) -> None:
    (folder / "config.yaml").write_text(text.format(canary=canary))
    assert said in refused(folder)


@pytest.mark.parametrize(
    "place", ["someone/model", "/tmp/model", "$model/../other", "$model/embedding@main", None]
)
def test_a_config_that_leads_out_of_its_folder(folder: Path, place: str | None) -> None:
    written = CONFIG.replace("embedding: $model/embedding", f"embedding: {place or '~'}")
    (folder / "config.yaml").write_text(written)
    assert "no hub is asked" in refused(folder)


@pytest.mark.parametrize("part", ["segmentation", "embedding"])
def test_a_checkpoint_of_pyannote_that_is_a_program(folder: Path, canary: Path, part: str) -> None:
    path = folder / part / "pytorch_model.bin"
    content = torch.load(path, weights_only=False)
    torch.save(content | {"callbacks": Program(canary)}, path)
    assert "asks for posix.mkdir, which no weights are made of" in refused(folder)


def test_a_checkpoint_of_pyannote_that_names_a_module(folder: Path) -> None:
    path = folder / "segmentation" / "pytorch_model.bin"
    content = torch.load(path, weights_only=False)
    content["pyannote.audio"]["architecture"] = {"module": "antigravity", "class": "x"}
    torch.save(content, path)
    assert "names the module 'antigravity'" in refused(folder)


def test_arrays_of_pyannote_that_are_programs(folder: Path, canary: Path) -> None:
    evil = np.array([Program(canary)], dtype=object)
    np.savez(folder / "plda" / "plda.npz", mu=evil, tr=evil, psi=evil)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("AgglomerativeClustering", "VBxClustering"))
    assert "allow_pickle=False" in refused(folder)


def test_a_folder_is_what_its_stated_digest_says(folder: Path) -> None:
    stage = PyannoteDiarizer(PyannoteDiarizer.Spec(model=str(folder)))
    digest = stage._digest
    pinned = PyannoteDiarizer.Spec(model=str(folder), sha256=digest)
    before = PyannoteDiarizer(pinned)
    before.open()
    weights = folder / "embedding" / "pytorch_model.bin"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(EngineMissingError, match="somebody changed it"):
        before.open()
    assert PyannoteDiarizer(PyannoteDiarizer.Spec(model=str(folder))).describe() != stage.describe()


def refused(folder: Path) -> str:
    with pytest.raises(EngineMissingError) as caught:
        PyannoteDiarizer(PyannoteDiarizer.Spec(model=str(folder))).open()
    return str(caught.value)


def calls(tree: ast.AST) -> Iterator[tuple[str, dict[str, object]]]:
    """Dotted names of all calls, with those keywords whose values are written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            constants: dict[str, object] = {
                str(keyword.arg): keyword.value.value
                for keyword in node.keywords
                if isinstance(keyword.value, ast.Constant)
            }
            yield ast.unparse(node.func), constants


def test_no_line_of_ours_reads_a_pickle_or_a_model_s_code() -> None:
    never = {
        *("eval", "exec", "pickle.load", "pickle.loads", "joblib.load", "torch.hub.load"),
        *("yaml.unsafe_load", "yaml.full_load", "os.system", "marshal.loads", "shelve.open"),
    }
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for name, given in calls(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}: {name}"
            assert name not in never, where
            assert not given.get("allow_pickle"), where
            assert not given.get("trust_remote_code"), where
            assert not given.get("shell"), where
            if name == "torch.load":
                assert given.get("weights_only") is True, where
            if name == "yaml.load":
                assert path.name == "strict_yaml.py", where
