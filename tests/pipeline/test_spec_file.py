"""Reading job specs: every mistake is one line that says where, what was found, what was wanted."""

from pathlib import Path

import pytest

from pipeline.spec_file import apply_override, load_job
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


def test_an_override_reaches_into_a_list() -> None:
    raw = {"data": {"sources": [{"uri": "a"}, {"uri": "b", "tasks": {"tts": 1}}], "sizes": [1, 2]}}
    for override in ("data.sources.1.tasks.tts=2", "data.sources.0.uri=c", "data.sizes.1=7"):
        apply_override(raw, override)
    assert raw["data"] == {
        "sources": [{"uri": "c"}, {"uri": "b", "tasks": {"tts": 2}}],
        "sizes": [1, 7],
    }
    for override, said in (
        ("data.sources.2.uri=c", "'2' is no entry of a list of 2, counted from 0"),
        ("data.sources.first.uri=c", "'first' is no entry of a list of 2"),
        ("data.sizes.2=1", "'2' is no entry of a list of 2"),
        ("data.sizes.0.a=1", "'0' is a value, not a section with 'a'"),
    ):
        with pytest.raises(SpecError, match=said):
            apply_override(raw, override)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "ouput: x\n", "ouput: unknown key; did you mean 'output'?"),
        (
            GOOD.replace("name: mine", "nmae: mine"),
            "nmae: unknown key; did you mean 'name'? (and 1",
        ),
        (GOOD.replace("uri: recordings", "uri: r, limt: 3"), "inputs.limt: unknown key; did you"),
        (GOOD.replace("name: mine\n", ""), "name: is missing"),
        (GOOD.replace("uri: recordings", "uri: 3"), "inputs.uri: input should be a valid string"),
        (GOOD + "run: {item_timeout_s: 2h}\n", "the value is in seconds, a plain number"),
        (GOOD + "run: {max_failed_fraction: 20}\n", "less than or equal to 1, found 20"),
        (GOOD + "version: 9\n", "reads specs up to version 1, the spec says 9"),
        (GOOD + "name: twice\n", "the key 'name' stands here twice"),
        (GOOD + "a: &x [1]\nb: *x\n", "YAML aliases are not accepted"),
        (GOOD + "a: !!python/object/apply:os.system ['true']\n", "is no YAML"),
        ("", "is empty, wanted keys and values"),
        ("- just\n- a list\n", "holds list, wanted keys and values"),
        ("a: [1, 2\n", "is no YAML"),
        ("name: x\ninputs: {uri: r}\noutput: o\nstages: {}\n", "needs at least one stage"),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper"),
        ("a: " + "[" * 4000 + "]" * 4000, "nested deeper"),
        ("? [a]\n: b\n", "line 1: a key here is a sequence, wanted one word"),
        (GOOD + "run:\n  ? {a: b}\n  : c\n", "line 9: a key here is a mapping, wanted one word"),
        (GOOD.replace("mine", "2024-13-45"), "line 2: '2024-13-45' is no timestamp; text is wri"),
        (GOOD + "seed: !!int abc\n", "line 8: 'abc' is no int"),
        (GOOD + "seed: !!int ''\n", "line 8: '' is no int"),
        (GOOD + "seed: !!float abc\n", "line 8: 'abc' is no float"),
        (GOOD + "seed: !!bool maybe\n", "line 8: 'maybe' is no bool"),
        (GOOD + "seed: !!timestamp abc\n", "line 8: 'abc' is no timestamp"),
        (GOOD + "seed: !!map abc\n", "is no YAML: expected a mapping node"),
        (GOOD + "seed: !!set abc\n", "is no YAML: expected a mapping node"),
        (GOOD + "2024-13-45: x\n", "line 8: '2024-13-45' is no timestamp"),
        (GOOD + "seed: " + "9" * 5000, "is no int"),
        (GOOD.replace("mine", "0x" + "f" * 5000), "line 2: '0xff"),
        (GOOD + "<<: 3\n", "is no YAML"),
        (GOOD + "3: x\n", "3: keys should be strings"),
        (GOOD + 'seed: "\\ud800"\n', "seed: "),
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


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("novalue", "is not of the form key.path=value"),
        ("=3", "is not of the form"),
        ("a..b=3", "is not of the form"),
        ("name.deeper=3", "'name' is a value, not a section"),
        ("inputs.limit=2024-13-45", "'2024-13-45' is no timestamp; text is written in quotes"),
        ("seed=!!int abc", "'abc' is no int"),
        ("run={? [a] : b}", "a key here is a sequence"),
        ("run={workers: 1, workers: 2}", "the key 'workers' stands here twice"),
        ("inputs.include=[&x a, *x]", "YAML aliases are not accepted"),
        ("inputs.include=[a", "is no YAML"),
        ("inputs.include=*.wav", "a text that begins with '*' needs quotes"),
        ("stages.decode=null", "to leave it out, delete its lines in a copy of the spec"),
        ("run=" + "[" * 4000 + "]" * 4000, "is nested deeper than 12 levels"),
        (".".join("a" * 13) + "=3", "is nested deeper than 12 levels"),
        ("stages.vad.x=" + "[" * 10 + "]" * 10, "is nested deeper than 12 levels"),
    ],
)
def test_a_malformed_override_is_one_line_that_names_it(
    tmp_path: Path, override: str, said: str
) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(SpecError) as caught:
        load_job(path, [override])
    message = str(caught.value)
    assert message.startswith(f"{path}: override '{override[:20]}")
    assert said in message
    assert "\n" not in message


def test_a_whole_number_of_64_bits_and_a_quoted_date_are_values(tmp_path: Path) -> None:
    spec = load_job(write(tmp_path, GOOD), [f"seed={2**64 - 1}", "name='2024-13-45'"])
    assert (spec.seed, spec.name) == (2**64 - 1, "2024-13-45")
