"""Reading job specs: every mistake is one line that says where, what was found, what was wanted."""

from pathlib import Path

import pytest

from pipeline.spec_file import load_job
from schemas.errors import SpecError

GOOD = """
name: mine
inputs: {uri: recordings}
output: out/mine
stages:
  decode:
  vad: {threshold: 0.4}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def test_a_stage_without_parameters_takes_its_defaults(tmp_path: Path) -> None:
    spec = load_job(write(tmp_path, GOOD))
    assert spec.stages == {"decode": {}, "vad": {"threshold": 0.4}}


def test_overrides_reach_into_sections_and_keep_their_types(tmp_path: Path) -> None:
    spec = load_job(
        write(tmp_path, GOOD),
        ["stages.vad.threshold=0.7", "inputs.limit=3", "run.workers=1", "output=out/other"],
    )
    assert spec.stages["vad"] == {"threshold": 0.7}
    assert (spec.inputs.limit, spec.run.workers, spec.output) == (3, 1, "out/other")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "ouput: x\n", "ouput: unknown key; did you mean 'output'?"),
        (GOOD.replace("uri: recordings", "uri: r, limt: 3"), "inputs.limt: unknown key; did you"),
        (GOOD.replace("name: mine\n", ""), "name: is missing"),
        (GOOD.replace("uri: recordings", "uri: 3"), "inputs.uri: input should be a valid string"),
        (GOOD + "run: {item_timeout_s: 2h}\n", "the value is in seconds, a plain number"),
        (GOOD + "run: {max_failed_fraction: 20}\n", "less than or equal to 1, found 20"),
        (GOOD + "version: 9\n", "reads specs up to version 1, the spec says 9"),
        (GOOD + "name: twice\n", "the key 'name' stands here twice"),
        (GOOD + "a: &x [1]\nb: *x\n", "YAML aliases are not accepted"),
        (GOOD + "a: !!python/object/apply:os.system ['true']\n", "is no YAML"),
        ("- just\n- a list\n", "holds list, wanted keys and values"),
        ("a: [1, 2\n", "is no YAML"),
        ("name: x\ninputs: {uri: r}\noutput: o\nstages: {}\n", "needs at least one stage"),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_the_place(
    tmp_path: Path, text: str, said: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        load_job(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message


def test_a_missing_file_and_a_binary_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        load_job(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match="cannot be read as text"):
        load_job(tmp_path / "binary.yaml")


@pytest.mark.parametrize("override", ["novalue", "=3", "a..b=3", "name.deeper=3"])
def test_a_malformed_override_is_named(tmp_path: Path, override: str) -> None:
    with pytest.raises(SpecError, match="override"):
        load_job(write(tmp_path, GOOD), [override])
