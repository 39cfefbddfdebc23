"""What is put into place survives a power cut."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import sys
from pathlib import Path
from model.loader.into_place import into_place
into_place(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_all_files_and_folders_are_synced_before_the_name_and_the_name_after(
    tmp_path: Path,
) -> None:
    part, log = tmp_path / "part", tmp_path / "trace"
    (part / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (part / name).write_text(name)
    strace = ["strace", "-f", "-qq", "-y", "-o", str(log), "-e", "trace=fsync,/^rename"]
    command = [*strace, sys.executable, "-B", "-c", CODE, str(part), str(tmp_path / "new")]
    subprocess.run(command, cwd=ROOT, check=True)
    calls = [line for line in log.read_text().splitlines() if str(tmp_path) in line]
    synced = [re.findall(r"fsync\(\d+<(.*)>\)", line) for line in calls]
    number = synced.index([])
    before = {"part", "part/a", "part/deep", "part/deep/b"}
    assert {path for (path,) in synced[:number]} == {str(tmp_path / name) for name in before}
    assert synced[number + 1 :] == [[str(tmp_path)]]
    assert (tmp_path / "new" / "deep" / "b").read_text() == "deep/b"
