"""YAML that builds objects, unfolds or never ends: refused by every door it comes through."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.tokenizer_train import load_train_spec
from jobs.training_run import load_spec
from model.training.spec import TrainSpec
from model.wording import Wording
from pipeline.spec_file import load_job
from schemas.errors import AudiomillError
from schemas.strict_yaml import MAX_BYTES

Door = Callable[[Path], object]
DOORS: dict[str, Door] = {
    "job": load_job,
    "training of a tokenizer": load_train_spec,
    "training of a model": lambda path: load_spec(path, None, TrainSpec),
    "wording": Wording.from_file,
    "wording of a model": lambda path: Wording.beside(path.parent),
}
LAUGHS = "l0: &l0 [ha, ha]\n" + "".join(
    f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 40)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"b{n}: &b{n} {{<<: [*{'a' if n == 0 else f'b{n - 1}'}, *a]}}\n" for n in range(40)
)
CONSTRUCTED = (
    "!!python/object/apply:os.system ['touch {canary}']",
    "!!python/object/apply:subprocess.check_call [[touch, '{canary}']]",
    "!!python/object/new:os.system ['touch {canary}']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object:pathlib.Path {{}}",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {canary}']",
)


def write(folder: Path, text: str) -> Path:
    path = folder / "templates.json"
    path.write_text(text)
    return path


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    return DOORS[request.param]


@pytest.mark.parametrize("value", CONSTRUCTED)
def test_no_object_is_built(tmp_path: Path, door: Door, value: str) -> None:
    canary = tmp_path / "canary"
    path = write(tmp_path, f"name: x\nseed: {value.format(canary=canary)}\n")
    with pytest.raises(AudiomillError, match="could not determine a constructor"):
        door(path)
    assert not canary.exists()


@pytest.mark.parametrize("text", [LAUGHS, MERGES])
def test_nothing_unfolds(tmp_path: Path, door: Door, text: str) -> None:
    with pytest.raises(AudiomillError, match="aliases are not accepted"):
        door(write(tmp_path, text))


@pytest.mark.parametrize("depth", [40, 4000, 100_000])
def test_a_deep_text_ends_in_one_line(tmp_path: Path, door: Door, depth: int) -> None:
    for start, end in (("[", "]"), ("{a: ", "}"), ("- ", "")):
        with pytest.raises(AudiomillError, match="nested deeper than 12"):
            door(write(tmp_path, "name:\n  " + start * depth + end * depth))


def test_a_key_said_twice_is_not_the_last_word(tmp_path: Path, door: Door) -> None:
    with pytest.raises(AudiomillError, match="'output' stands here twice"):
        door(write(tmp_path, "output: mine\noutput: theirs\n"))


def test_a_text_without_end_is_read_no_further_than_its_limit(tmp_path: Path, door: Door) -> None:
    path = tmp_path / "templates.json"
    path.symlink_to("/dev/zero")
    with pytest.raises(AudiomillError, match=f"larger than {MAX_BYTES} bytes"):
        door(path)


@pytest.mark.parametrize("value", [CONSTRUCTED[0], "[&x 1, *x]", "[" * 4000])
def test_an_override_is_no_side_door(tmp_path: Path, value: str) -> None:
    canary = tmp_path / "canary"
    path = write(tmp_path, "name: x\n")
    for load in (load_job, load_train_spec):
        with pytest.raises(AudiomillError, match="override"):
            load(path, [f"seed={value.format(canary=canary)}"])
    assert not canary.exists()
