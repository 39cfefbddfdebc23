"""Whose output it is: begun once by whoever comes first, gone on with only by the same job."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from pipeline.assemble import Job, NamedStage, Pass
from pipeline.bucket import PROBE
from pipeline.inputs import Listing, list_inputs
from pipeline.manifest import Manifest
from pipeline.output import (
    check_clearable,
    clear,
    find_output,
    open_output,
    read_inputs,
    read_job,
    sealed,
)
from schemas.errors import OutputError
from schemas.job import RunSpec, TokenizeSpec
from tests.pipeline.toy_jobs import toy_job, write_words
from tests.pipeline.toy_stages import ToyDecode


class OtherDecode(ToyDecode):
    def describe(self) -> str:
        return "toy 2 weights-0f0f"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_words(tmp_path / "in", {"a": "good", "b": "good"})


@pytest.fixture
def job(inputs: Path, tmp_path: Path) -> Job:
    return toy_job(inputs, tmp_path / "out")


@pytest.fixture
def begun(job: Job) -> Path:
    return open_output(job, list_inputs(job.spec.inputs)).out


def with_decode(job: Job, decode: ToyDecode) -> Job:
    stages = (NamedStage("decode", decode), *job.stages[1:])
    return Job(spec=job.spec, stages=stages, passes=(Pass(stages),))


def with_spec(job: Job, **changes: Any) -> Job:
    return Job(spec=job.spec.model_copy(update=changes), stages=job.stages, passes=job.passes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda job: with_decode(job, ToyDecode(ToyDecode.Spec(seconds=4))), "stages.decode"),
        (
            lambda job: with_decode(job, OtherDecode(OtherDecode.Spec())),
            r"stages.decode \('toy 1' then, 'toy 2 weights-0f0f' now\)",
        ),
        (lambda job: with_spec(job, seed=7), "seed"),
        (lambda job: with_spec(job, tokenize=TokenizeSpec(num_codebooks=4)), "tokenize"),
    ],
)
@pytest.mark.usefixtures("begun")
def test_a_changed_job_is_refused_by_name(
    job: Job, change: Callable[[Job], Job], said: str
) -> None:
    with pytest.raises(
        OutputError, match=f"begun by another job: {said}(, the code of .*)? changed"
    ):
        find_output(change(job), list_inputs(job.spec.inputs))


@pytest.mark.parametrize("name", ["pipeline", "tokenizer", "stages.decode"])
def test_changed_code_is_refused_by_name(job: Job, name: str) -> None:
    job = with_spec(job, tokenize=TokenizeSpec())
    begun = open_output(job, list_inputs(job.spec.inputs)).out
    record = read_job(begun)
    record["code"][name] = "another digest"
    (begun / "job.json").write_bytes(sealed(record))
    with pytest.raises(OutputError, match=f"the code of {name} changed"):
        find_output(job, list_inputs(job.spec.inputs))


@pytest.mark.parametrize("change", ["new", "gone", "changed"])
@pytest.mark.usefixtures("begun")
def test_changed_inputs_are_refused_by_name(job: Job, inputs: Path, change: str) -> None:
    if change == "gone":
        (inputs / "b.txt").unlink()
    else:
        (inputs / ("c.txt" if change == "new" else "b.txt")).write_text("good and other")
    name = "c.txt" if change == "new" else "b.txt"
    with pytest.raises(OutputError, match=rf"1 {change} \(the first: .*{name}\)"):
        find_output(job, list_inputs(job.spec.inputs))


def test_units_stay_as_they_were_when_the_job_began(inputs: Path, tmp_path: Path) -> None:
    listing = list_inputs(toy_job(inputs, tmp_path / "out").spec.inputs)
    began = open_output(toy_job(inputs, tmp_path / "out", RunSpec(inputs_per_unit=2)), listing)
    goes_on = open_output(toy_job(inputs, tmp_path / "out", RunSpec(inputs_per_unit=1)), listing)
    assert began.rule == goes_on.rule
    assert goes_on.rule.max_inputs == 2


def test_of_many_that_begin_at_once_the_first_decides(job: Job, inputs: Path) -> None:
    one = list_inputs(job.spec.inputs)
    other = Listing(one.sources[:1], 1)
    barrier = Barrier(8)

    def begin(listing: Listing) -> Listing | None:
        barrier.wait()
        try:
            open_output(job, listing)
        except OutputError:
            return None
        return listing

    with ThreadPoolExecutor(8) as pool:
        winners = {found for found in pool.map(begin, [one, other] * 4) if found}
    assert len(winners) == 1
    out = Path(job.spec.output)
    assert read_inputs(out) == winners.pop().sources
    assert Manifest(out).store.refresh() == 0


def test_an_output_of_another_format_is_refused(job: Job, begun: Path) -> None:
    (begun / "job.json").write_text(json.dumps(read_job(begun) | {"audiomill": 1}))
    with pytest.raises(OutputError, match="has format 1, and this audiomill reads 2 only"):
        find_output(job, list_inputs(job.spec.inputs))


def test_a_job_file_with_one_other_bit_is_refused(begun: Path) -> None:
    whole = (begun / "job.json").read_bytes()
    for place in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (begun / "job.json").write_bytes(damaged)
        with pytest.raises(OutputError, match=r"job\.json"):
            read_job(begun)
    (begun / "job.json").write_bytes(whole)
    assert read_job(begun)["spec"]["name"] == "toy"


def test_starting_over_removes_what_is_ours_and_nothing_else(begun: Path) -> None:
    (begun / ".x.1.part").write_text("torn")
    (begun / "notes.txt").write_text("mine")
    clear(begun)
    assert [path.name for path in begun.iterdir()] == ["notes.txt"]
    with pytest.raises(OutputError, match="holds no audiomill job, so nothing was removed"):
        clear(begun)


def test_a_store_that_another_beginner_tries_out_is_still_free(tmp_path: Path) -> None:
    (tmp_path / f"{PROBE}0123456789ab").touch()
    check_clearable(tmp_path)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match="holds no audiomill job"):
        check_clearable(tmp_path)
