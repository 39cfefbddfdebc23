"""What counts as other code: what a machine would run, here and in what is imported from here."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.code_fingerprint import PIPELINE, code_of, pipeline_code
from tests.pipeline.toy_stages import ToyDecode

MODULE = '''"""A stage."""
from package.helper import helped
class Stage:
    """What it does."""
    def value(self):
        """Its value."""
        return helped() + 1
'''
HELPER = "def helped():\n    return 1\n"
ROOT = Path(__file__).resolve().parents[2]


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
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("module", "helper", "same"),
    [
        (MODULE.replace("A stage", "A good stage"), HELPER, True),
        (MODULE.replace("Its value", "Another"), f"# why\n\n{HELPER}", True),
        (MODULE.replace("+ 1", "+ 2"), HELPER, False),
        (MODULE, HELPER.replace("1", "2"), False),
    ],
)
def test_words_do_not_count_and_what_runs_does(
    tmp_path: Path, module: str, helper: str, same: bool
) -> None:
    assert (code(tmp_path, MODULE, HELPER) == code(tmp_path, module, helper)) is same


def test_the_code_of_a_job_is_found() -> None:
    assert code_of(ToyDecode) != code_of(Path)
    assert pipeline_code()
    for module in PIPELINE:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
