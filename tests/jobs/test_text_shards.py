"""Written documents become a source that trains text alone, beside spoken ones or by itself."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cli import main
from jobs.text_command import pieces, write_text_shards
from jobs.train_command import open_loader, open_model
from jobs.training_run import load_spec
from model.training.spec import TrainSpec
from schemas.errors import SpecError
from tests.jobs.made_output import make_output

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "jobs" / "pretrain-tiny.yaml"
LONG = "One sentence of the long document. Another, 再一句。\n\n" * 40


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four documents, one of them long, two empty ones, and four that cannot be read."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "deep").mkdir()
    (folder / "deep" / "long.txt").write_text(LONG)
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "empty.txt").write_text(" \n")
    lines = ['{"text": "from a line"}', '{"words": "no text"}', "no json", '{"text": 7}']
    (folder / "lines.jsonl").write_text("\n".join(lines))
    table = pa.table({"text": ["from a table", None, "and another"]})
    pq.write_table(table, folder / "table.parquet")
    (folder / "notes.md").write_text("not asked for")
    return folder


@pytest.fixture(scope="module")
def out(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written") / "out"
    write_text_shards(texts, out, max_chars=400)
    return out


def arguments(target: Path, sources: str) -> list[str]:
    return [
        f"data.sources={sources}",
        *("data.context_groups=512", "data.sequences_per_step=2", "run.sequences_per_pass=2"),
        *("steps=2", f"output={target}"),
    ]


def test_every_document_is_in_the_shards_or_told(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    assert main(["text-shards", str(texts), str(target), "--max-chars", "400"]) == 3
    said = capsys.readouterr()
    assert "4 documents" in said.out
    assert "2 empty ones dropped, 4 failed" in said.out
    for place in ("latin.txt", "lines.jsonl:2", "lines.jsonl:3", "lines.jsonl:4"):
        assert f"failed: {place}: " in said.err
    rows = pq.read_table(next((target / "shards").glob("*.parquet"))).to_pylist()
    kept = [str(row["text"]) for row in rows]
    assert all(row["num_frames"] == 0 and row["q0"] == [] for row in rows)
    assert {"from a line", "from a table", "and another"} < set(kept)
    assert "".join(text for text in kept if text in LONG) == LONG
    assert len({row["segment_id"] for row in rows}) == len(rows)


def test_a_run_learns_from_spoken_and_written_rows(out: Path, tmp_path: Path) -> None:
    spoken = make_output(tmp_path / "spoken")
    sources = f"[{{uri: {out}, tasks: {{text: 1}}}}, {{uri: {spoken}, tasks: {{interleaved: 1}}}}]"
    assert main(["train", str(SPEC), *arguments(tmp_path / "run", sources)]) == 0
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert len(log) == 2


def test_text_alone_trains_and_the_model_knows_no_tokenizer(out: Path, tmp_path: Path) -> None:
    sources = f"[{{uri: {out}, tasks: {{text: 1}}}}]"
    assert main(["train", str(SPEC), *arguments(tmp_path / "run", sources)]) == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert "audio_tokenizer" not in json.dumps(config)


def test_a_written_row_serves_no_task_that_wants_sound(out: Path, tmp_path: Path) -> None:
    tasks = "{text: 1, asr: 1, tts: 1, interleaved: 1, asr_document: 1, text_dialogue: 1}"
    given_spec = arguments(tmp_path / "run", f"[{{uri: {out}, tasks: {tasks}}}]")
    spec = load_spec(SPEC, given_spec, TrainSpec)
    model, text = open_model(spec.model, spec.seed)
    loader = open_loader(spec, model, text)
    counted = loader.counted(0)
    assert (counted.num_none, counted.num_left_out) == (0, 0)
    empty = model.special_tokens.empty
    for number in range(loader.num_sequences):
        for document in loader.sequence(number).documents:
            assert (document.content.ids[0] != empty).all()
    loader.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "half \\ud83d a pair"}', "half a surrogate pair at character 5"),
        ('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", "RecursionError"),
    ],
)
def test_a_hostile_line_fails_alone(line: str, said: str, tmp_path: Path) -> None:
    source = tmp_path / "lines.jsonl"
    source.write_text(f'{{"text": "before"}}\n{line}\n{{"text": "after"}}\n')
    found = write_text_shards(source, tmp_path / "out")
    assert (found.num_documents, found.num_rows) == (2, 2)
    (failed,) = found.failed
    assert failed.startswith("lines.jsonl:2: ")
    assert said in failed


def test_only_regular_files_below_the_folder_are_read(tmp_path: Path) -> None:
    source, secret = tmp_path / "in", tmp_path / "secret.txt"
    (source / "folder.txt").mkdir(parents=True)
    (source / "folder.txt" / "a.txt").write_text("inside")
    (source / "again.txt").symlink_to("folder.txt/a.txt")
    secret.write_text("outside")
    (source / "link.txt").symlink_to(secret)
    (source / "loop.txt").symlink_to("loop.txt")
    (source / "gone.txt").symlink_to("nowhere")
    (source / "linked.txt").symlink_to(tmp_path)
    os.mkfifo(source / "pipe.txt")
    (source / os.fsdecode(b"latin\xe9.txt")).write_text("its name is no UTF-8")
    found = write_text_shards(source, tmp_path / "out")
    assert found.num_documents == 3
    whys = dict(failed.split(": ", 1) for failed in found.failed)
    assert whys.keys() == {"link.txt", "loop.txt", "gone.txt", "linked.txt", "pipe.txt"}
    assert "a link out of" in whys["link.txt"]
    assert "no regular file" in whys["pipe.txt"]
    (shard,) = (tmp_path / "out" / "shards").glob("*.parquet")
    assert "outside" not in pq.read_table(shard)["text"].to_pylist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing", "new"], "no documents there"),
        (["blank", "new"], "1 empty documents, 0 failed"),
        (["blank", "blank"], "is there already"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "a.txt").write_text("\n")
    assert main(["text-shards", *arguments]) == 2
    found = capsys.readouterr().err.strip()
    assert said in found
    assert len(found.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_column_that_is_not_there_is_named(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no column 'words', only text"):
        write_text_shards(texts / "table.parquet", tmp_path / "out", column="words")


@given(st.text(max_size=200), st.integers(1, 30))
def test_pieces_are_the_text_and_no_longer_than_asked_for(text: str, max_chars: int) -> None:
    found = list(pieces(text, max_chars))
    assert "".join(found) == text
    assert max(map(len, found)) <= max_chars


def test_pieces_end_where_a_paragraph_or_a_sentence_does() -> None:
    assert list(pieces("One two.\n\nThree four five.", 14)) == [
        "One two.\n\n",
        "Three four ",
        "five.",
    ]
    assert list(pieces("一二三四。五六七八。", 8)) == ["一二三四。", "五六七八。"]
