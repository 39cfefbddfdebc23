"""Every kind of bad input through listing, fetching and the decode stage: the expected end each."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.malformed.__main__ import main
from benchmarks.malformed.check import check_rows, disagreement
from benchmarks.malformed.kind import Kind, Outcome, clean, failed, flagged
from benchmarks.malformed.kinds import KINDS, make_corpus
from benchmarks.malformed.lures import CANARIES
from benchmarks.malformed.voice import voice
from pipeline.inputs import list_inputs
from pipeline.rows import rows_of
from schemas.errors import ItemError, SpecError
from schemas.failures import ERROR_CLASSES
from schemas.job import InputsSpec
from stages.base import Recording
from stages.decode import PyavDecode
from tests.stages.malformed_mill import Mill, opened_mill
from tests.stages.test_decode_lures import opened_files

NOBODY = 65_534
ROOT = Path(__file__).resolve().parents[2]
FILES = [kind for kind in KINDS if kind.uri is None]
REFERENCES = [kind for kind in KINDS if kind.uri is not None]
LURES = [kind for kind in KINDS if kind.family == "lures"]


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    with opened_mill(tmp_path_factory.mktemp("malformed") / "corpus") as mill:
        yield mill


def by_name(kinds: list[Kind]) -> list[Any]:
    """Kinds as parameters."""
    return [pytest.param(kind, id=kind.name) for kind in kinds]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", by_name(FILES))
def test_every_kind_comes_to_its_expected_end(mill: Mill, kind: Kind) -> None:
    assert disagreement(kind, mill.outcome(kind)) is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "kind", by_name([k for k in FILES if k.sounds_like_voice and k.expected.kept])
)
def test_what_is_kept_is_as_loud_as_its_source_and_no_burst_of_noise(
    mill: Mill, kind: Kind
) -> None:
    item = mill.result(kind)
    if item.failure:  # right as well, or the test above has said so
        assert item.failure.error_class in kind.expected.classes
        return
    samples = item.values["audio"].samples
    loudness = np.sqrt(np.mean(samples**2)) / np.sqrt(np.mean(voice() ** 2))
    assert 0.5 < loudness < 2
    assert np.abs(samples).max() < 8


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", by_name([k for k in LURES if k.uri is None]))
def test_a_lure_opens_no_sibling_and_no_connection(mill: Mill, kind: Kind) -> None:
    mill.result(kind)
    assert set(mill.opened[kind.name]) <= {kind.file}
    assert mill.count_connections() == 0


@pytest.mark.parametrize("kind", by_name(REFERENCES))
def test_a_reference_is_refused_by_the_listing_and_names_no_file_to_the_decoder(
    mill: Mill, kind: Kind
) -> None:
    folder = mill.folder / kind.family
    uri = (kind.uri or "").format(folder=folder, port=mill.port)
    with opened_files(folder) as names:
        said = refusal(Path(uri))
        with pytest.raises(SpecError):
            list_inputs(InputsSpec(uri=uri))
        assert names() == []
    assert said.split(":")[0] in kind.expected.classes
    assert mill.count_connections() == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ffconcat-relative", {}),
        ("ffconcat-absolute", {"safe": "0"}),
        ("hls-media-file", {}),
        ("hls-master-file", {}),
        ("mov-reference", {"enable_drefs": "1", "use_absolute_path": "1"}),
    ],
)
def test_the_canaries_sing_where_nobody_guards_them(
    mill: Mill, name: str, options: dict[str, str]
) -> None:
    import av

    kind = next(kind for kind in LURES if kind.name == f"lures/{name}")
    path = mill.folder / kind.relative_path
    with opened_files(path.parent) as names:
        try:
            with av.open(str(path), options=options) as container:
                next(container.decode(audio=0), None)
        except av.FFmpegError:
            pass  # the alias leads to a stream that does not fit the index, after it was opened
        assert CANARIES[0] in names()


def test_what_the_listing_leaves_alone(mill: Mill) -> None:
    names = {kind.shown_path for kind in FILES}
    assert mill.sources.keys() <= names
    unlisted = (names - mill.sources.keys()) | mill.left_alone
    assert unlisted == {kind.shown_path for kind in FILES if kind.expected.unlisted}


@pytest.mark.skipif(os.geteuid() != 0, reason="for others the kind itself is unreadable, see above")
def test_without_permission_a_file_is_unreadable() -> None:
    kind = next(kind for kind in FILES if kind.name == "filesystem/no-permission")
    folder = Path(tempfile.mkdtemp())  # not below pytest's folder, which is closed to others
    try:
        folder.chmod(0o755)
        make_corpus(folder / "corpus", [kind])
        said = as_nobody(lambda: refusal(folder / "corpus" / kind.relative_path))
    finally:
        shutil.rmtree(folder)
    assert said.startswith("UNREADABLE")
    assert "Permission denied" in said


def refusal(path: Path) -> str:
    """Class and sentence of the decode stage's failure on a file."""
    stage = PyavDecode(PyavDecode.Spec())
    with pytest.raises(ItemError) as raised:
        stage.process(Recording("s", "r", str(path), {"path": path}))
    stage.close()
    return f"{raised.value.error_class}: {raised.value}"


def as_nobody(function: Callable[[], str]) -> str:
    """What a function says in a copy of this process that has lost the rights of root."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, function().encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read().decode()


def test_rows_of_a_run_are_held_against_what_was_expected(mill: Mill) -> None:
    kinds = [kind for kind in FILES if kind.family in ("not-audio", "content", "torn")]
    rows = rows_of([mill.result(kind) for kind in kinds])
    recordings, failures = rows["recordings"], rows["failures"]
    assert check_rows(recordings, failures, kinds) == []
    assert len(check_rows(recordings[1:], failures[1:], kinds)) == 1
    assert "2 rows" in check_rows([*recordings, recordings[0]], failures, kinds)[0]
    for row in failures:
        wrong = [{**r, "error_class": "TIMEOUT"} if r is row else r for r in failures]
        assert "failed with TIMEOUT" in check_rows(recordings, wrong, kinds)[0]
    lost = [row for row in recordings if row["outcome"] == "failed"]
    assert "outcome failed with 0 failures" in check_rows(lost, failures[1:], kinds)[0]


def test_an_outcome_that_is_not_expected_is_said_in_words() -> None:
    kind = replace(KINDS[0], expected=clean(4.0, may_flag="NONFINITE"))
    kept = Outcome(flags=frozenset({"NONFINITE"}), seconds=4.0)
    assert disagreement(kind, kept) is None
    assert "3.00 s; wanted" in (disagreement(kind, replace(kept, seconds=3.0)) or "")
    assert "TRUNCATED" in (disagreement(kind, replace(kept, flags=frozenset({"TRUNCATED"}))) or "")
    assert "not listed; wanted kept" in (disagreement(kind, Outcome()) or "")
    some = replace(kind, expected=flagged("NONFINITE", (1.0, 5.0)).or_failed("TOO_SHORT"))
    assert disagreement(some, kept) is None
    assert disagreement(some, Outcome(error_class="TOO_SHORT")) is None
    assert "no flag, 4.00 s" in (disagreement(some, replace(kept, flags=frozenset())) or "")
    refused = replace(kind, expected=failed("NOT_AUDIO"))
    assert "wanted failed with NOT_AUDIO" in (disagreement(refused, kept) or "")


def test_the_table_of_kinds_is_whole() -> None:
    assert len(KINDS) >= 96
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert len({kind.relative_path for kind in FILES}) == len(FILES)
    for kind in KINDS:
        expected = kind.expected
        assert kind.how, kind.name
        assert expected.kept or expected.classes or expected.unlisted, kind.name
        assert expected.classes | expected.flags | expected.may_flag <= ERROR_CLASSES.keys()


def test_no_file_repeats_another(mill: Mill) -> None:
    paths = [mill.folder / kind.relative_path for kind in FILES]
    contents = [path.read_bytes() for path in paths if path.is_file() and not path.is_symlink()]
    assert len(contents) > 120
    assert len(set(contents)) == len(contents), "a run would reject it as a duplicate"


def test_another_process_makes_the_same_bytes(mill: Mill, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.malformed", str(tmp_path / "again")]
    subprocess.run([*command, "torn", "containers"], cwd=ROOT, check=True, capture_output=True)
    expected = json.loads((tmp_path / "again/expected.json").read_text(encoding="utf-8"))
    assert len(expected) > 30
    assert expected["torn/flac-half"]["flags"] == ["TRUNCATED"]
    for row in expected.values():
        again, before = tmp_path / "again" / row["file"], mill.folder / row["file"]
        assert again.read_bytes() == before.read_bytes(), row["file"]


def test_a_wrong_name_and_a_full_folder_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "torn/flac-hlaf"]) == 2
    assert "flac-hlaf" in capsys.readouterr().err
    (tmp_path / "mine.wav").touch()
    assert main([str(tmp_path), "headers"]) == 2
    assert "not empty" in capsys.readouterr().err
