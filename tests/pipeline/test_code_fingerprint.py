"""What counts as other code: what a machine would run, here and in what is used from here."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.code_fingerprint import (
    LEFT_OUT,
    PIPELINE,
    TOKENIZER,
    code_of,
    counted,
    pipeline_code,
    tokenizer_code,
)
from tests.pipeline.toy_stages import ToyDecode

MODULE = '''"""A stage."""
from package.helper import helped
class Stage:
    """What it does."""
    speed_x_real_time = 5.0
    def value(self):
        """Its value."""
        return helped() + 1
'''
HELPER = """from math import floor as rounded
def helped():
    return rounded(1.5)
def unused():
    return 1
"""
ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("schemas", "stages", "tokenizer", "pipeline")
WRITES = re.compile(r"\b(write|commit)_rows\(")
WEIGHTS = {
    "vad": "silero_vad/data/silero_vad_16k_sequence.onnx",
    "diarize": "resemblyzer/pretrained.pt",
    "asr": "pocketsphinx/model/en-us/en-us/means",
}
ALL_WEIGHTS = (
    *WEIGHTS.values(),
    "pocketsphinx/model/en-us/en-us.lm.bin",
    "pocketsphinx/model/en-us/cmudict-en-us.dict",
)
COUNTING = {
    "schemas/spans.py:num_samples": {"stages.vad", "stages.diarize"},
    "schemas/tokens.py:pa.int64()": {"pipeline"},
    "stages/vad.py:process": {"stages.vad"},
    "stages/decoding/reading.py:read_audio": {"stages.decode"},
    "tokenizer/encoder.py:forward": {"tokenizer"},
    "tokenizer/mel.py:__init__": {"tokenizer"},
    "tokenizer/codec.py:encode_numpy": {"tokenizer"},
    "pipeline/tokenize.py:write_shards": {"pipeline"},
    "pipeline/worker.py:finish": {"pipeline"},
    "pipeline/manifest.py:write_rows": {"pipeline"},
    "pipeline/inputs.py:fetched": {"pipeline"},
    "pipeline/blaming.py:blaming": {"pipeline"},
    "pipeline/rows.py:rows_of": {"pipeline"},
}
"""A function that is given one more statement, or text that is replaced, to what is then named."""
HARMLESS = (
    "schemas/tokens.py:row in that file",
    "stages/vad.py:speed_x_real_time: ClassVar[float] = 400",
    "stages/vad.py:which is not there; install",
    "tokenizer/vocoder.py:forward",
    "pipeline/engine.py:__init__",
    "pipeline/report.py:write_report",
)
RESUME = """
import ast, json, sys
from pathlib import Path
from pipeline import code_fingerprint, code_parts
from pipeline.assemble import Job, NamedStage
from pipeline.inputs import list_inputs
from pipeline.output import find_output, open_output
from schemas.errors import OutputError
from schemas.job import InputsSpec, JobSpec, TokenizeSpec
from stages.asr.pocketsphinx import PocketsphinxAsr
from stages.decode import PyavDecode
from stages.diarize.embeddings import EmbeddingDiarizer
from stages.vad import SileroVad

def job():
    spec = JobSpec(name="toy", inputs=InputsSpec(uri="in"), output="out", stages={"decode": {}},
                   tokenize=TokenizeSpec())
    classes = (PyavDecode, SileroVad, EmbeddingDiarizer, PocketsphinxAsr)
    return Job(spec, tuple(NamedStage(cls.name, cls(cls.Spec())) for cls in classes))

def changed(path, what):
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == what:
            lines = text.splitlines()
            line = node.body[-1].lineno - 1
            lines.insert(line, " " * node.body[-1].col_offset + "assert True")
            return "\\n".join(lines)
    return text.replace(what, what + "9" if what[-1].isdigit() else what.replace("t", "T"))

inputs = list_inputs(InputsSpec(uri="in"))
open_output(job(), inputs)
said = {}
for case in json.loads(sys.argv[1]):
    name, _, what = case.partition(":")
    path = Path(name)
    before = path.read_bytes()
    path.write_text(changed(path, what)) if what else path.write_bytes(before + b"!")
    for cached in (code_parts.read_module, code_parts.part_of, code_fingerprint._digest):
        cached.cache_clear()
    try:
        find_output(job(), inputs)
        said[case] = ""
    except OutputError as error:
        said[case] = str(error)
    path.write_bytes(before)
print(json.dumps(said))
"""


def code(folder: Path, module: str, helper: str) -> str:
    """Digest in a process of its own, as the next run has it."""
    (folder / "package").mkdir(exist_ok=True)
    (folder / "package" / "stage.py").write_text(module)
    (folder / "package" / "helper.py").write_text(helper)
    script = (
        "from pipeline.code_fingerprint import code_of\n"
        "from package.stage import Stage\n"
        "print(code_of(Stage))"
    )
    return python(folder, f"{ROOT}:{folder}", "-c", script)


def python(folder: Path, path: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=folder,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("module", "helper", "same"),
    [
        (MODULE.replace("A stage", "A good stage"), HELPER, True),
        (MODULE.replace("Its value", "Another"), f"# why\n\n{HELPER}", True),
        (MODULE.replace("5.0", "6.0"), HELPER.replace("return 1\n", "return 2\n"), True),
        (MODULE.replace("+ 1", "+ 2"), HELPER, False),
        (MODULE, HELPER.replace("1.5", "2.5"), False),
        (MODULE, HELPER.replace("floor", "ceil"), False),
        (MODULE, f"{HELPER}print(end='')\n", False),
        (MODULE.replace("helped() + 1", "helped() + (1 or print('Its value'))"), HELPER, False),
    ],
)
def test_words_do_not_count_and_what_runs_does(
    tmp_path: Path, module: str, helper: str, same: bool
) -> None:
    assert (code(tmp_path, MODULE, HELPER) == code(tmp_path, module, helper)) is same


def test_the_code_of_a_job_is_found() -> None:
    assert code_of(ToyDecode) != code_of(Path)
    assert len({pipeline_code(), tokenizer_code(), code_of(ToyDecode)}) == 3
    modules = (*PIPELINE, TOKENIZER[0], *LEFT_OUT)
    assert [m for m in modules if not (ROOT / f"{m.replace('.', '/')}.py").is_file()] == []


def test_whoever_writes_rows_of_a_job_is_counted() -> None:
    """But for those that write what no stage made: a run's own row, what was taken away."""
    writers = {
        f"pipeline.{path.stem}"
        for path in (ROOT / "pipeline").glob("*.py")
        if WRITES.search(path.read_text(encoding="utf-8"))
    }
    found = {name.partition(":")[0] for name in counted(*((module, "") for module in PIPELINE))}
    assert writers - found == {"pipeline.run", "pipeline.forget"}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a job that is resumed says after each change, in a copy of the code and the weights."""
    folder = tmp_path_factory.mktemp("copy")
    for room in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png", "evaluation")
        shutil.copytree(ROOT / room, folder / room, ignore=ignored)
    for name in ALL_WEIGHTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"weights of {name}")
    for package in ("silero_vad", "resemblyzer", "pocketsphinx"):
        (folder / package / "__init__.py").touch()
    (folder / "in").mkdir()
    (folder / "in" / "a.wav").write_text("a")
    cases = json.dumps([*COUNTING, *HARMLESS, *WEIGHTS.values()])
    found: dict[str, str] = json.loads(python(folder, str(folder), "-c", RESUME, cases))
    return found


@pytest.mark.parametrize("change", COUNTING)
def test_a_change_of_code_that_makes_rows_is_refused_by_name(
    said: dict[str, str], change: str
) -> None:
    assert set(re.findall(r"the code of ([\w.]+)", said[change])) == COUNTING[change]


@pytest.mark.parametrize("change", HARMLESS)
def test_a_change_that_no_row_can_show_is_not_refused(said: dict[str, str], change: str) -> None:
    assert said[change] == ""


@pytest.mark.parametrize("stage", WEIGHTS)
def test_other_weights_in_a_package_are_refused_by_name(said: dict[str, str], stage: str) -> None:
    assert f"begun by another job: stages.{stage} ('" in said[WEIGHTS[stage]]
