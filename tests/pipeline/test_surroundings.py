"""A run in odd surroundings, and under the eyes of readers, makes what any other makes."""

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.machine import ROOT
from benchmarks.toy_job import content, write_inputs
from pipeline.manifest import Manifest
from pipeline.run import run_job
from pipeline.verify import verify
from schemas.errors import OutputError
from tests.pipeline.toy_jobs import Silent, open_toy_tokenizer, toy_shard_job

ODD = {
    "LC_ALL": "C",
    "LANG": "xx_XX.nonsense",
    "TZ": "Pacific/Kiritimati",
    "HOME": "/proc/no-home",
    "PYTHONHASHSEED": "7",
    "COLUMNS": "20",
}
RUN = """
import os, sys
from pathlib import Path
from pipeline.run import run_job
from tests.pipeline.toy_jobs import Silent, open_toy_tokenizer, toy_shard_job
os.umask(0o077)
job = toy_shard_job(Path(sys.argv[1]), Path(sys.argv[2]))
run_job(job, Silent(), open_tokenizer=open_toy_tokenizer)
"""
COUNTS = "SELECT (SELECT count(*) FROM recordings), (SELECT count(*) FROM tokens)"


def counts(out: Path) -> tuple[int, int]:
    """Rows that a reader sees now; none before there is an output."""
    try:
        manifest = Manifest(out)
    except OutputError:
        return 0, 0
    with manifest.connect() as db:
        recordings, tokens = db.execute(COUNTS).fetchone() or (0, 0)
    return recordings, tokens


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_locale_zone_umask_and_home_change_no_row_and_readers_see_tables_grow(
    tmp_path: Path,
) -> None:
    inputs = write_inputs(tmp_path / "in", 20)
    odd, usual = tmp_path / "odd", tmp_path / "usual"
    environment = {name: of for name, of in os.environ.items() if not name.startswith("XDG_")} | ODD
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(inputs), str(odd)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        seen = [counts(odd)]
        while driver.poll() is None:
            seen.append(counts(odd))
            time.sleep(0.1)
        said = driver.communicate()[1]
    assert driver.returncode == 0, said
    seen.append(counts(odd))
    for before, after in pairwise(seen):
        assert before[0] <= after[0]
        assert before[1] <= after[1]
    assert len(set(seen)) > 3, "readers came while it grew"
    run_job(toy_shard_job(inputs, usual), Silent(), open_tokenizer=open_toy_tokenizer)
    assert content(odd) == content(usual)
    assert verify(odd).ok
    assert (odd / "job.json").stat().st_mode & 0o077 == 0
