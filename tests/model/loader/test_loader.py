"""The loader: a batch depends on the spec and the manifests, not on what happened before."""

import json
import os
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.made_output import commit_shards, made_rows
from model.loader import SequenceView, document_numbers, stack_codes
from model.loader.windows import Counted
from schemas.errors import ModelError, OutputError, SpecError, TrainingError
from tests.model.loader.conftest import NUM_ROWS, frames
from tests.model.loader.loaders import (
    CONTEXT,
    equal_content,
    loader,
    order,
    source,
    steps,
    told,
)


def test_a_step_is_the_same_whoever_asks_and_whatever_was_asked_before(
    output: Path, cache_folder: Path, tmp_path: Path
) -> None:
    one = loader(output, cache_folder=cache_folder)
    forwards = [one.batch(step) for step in range(12)]
    moved = shutil.copytree(output, tmp_path / "moved")
    other = loader(moved / "shards", cache_folder=tmp_path / "cache")
    assert one.digest == other.digest
    for step in (11, 0, 5, 5, 3):
        assert order([other.batch(step)]) == order([forwards[step]])
        assert equal_content(other.batch(step), forwards[step])


@pytest.mark.parametrize("first_world", [1, 2, 3])
def test_an_epoch_resumed_twice_by_other_worlds_goes_on_as_if_nothing_had_been(
    output: Path, cache_folder: Path, first_world: int
) -> None:
    whole = steps(loader(output, cache_folder=cache_folder), 0, 15)
    found, state = [], {"step": 0}
    for stop, world in ((4, first_world), (9, 6), (15, 2)):
        again = loader(output, cache_folder=cache_folder)
        first = again.resume(state) if "plan" in state else 0
        found += steps(again, first, stop, world)
        state = json.loads(json.dumps(again.state(stop)))
    assert found == whole


def test_every_epoch_has_every_frame_once_in_an_order_of_its_own(
    output: Path, cache_folder: Path
) -> None:
    found = loader(output, cache_folder=cache_folder)
    rows = dict(enumerate(frames()))
    in_all = Counter(
        {row.segment_id: rows[n] for n, (row, _) in enumerate(made_rows(rows.values()))}
    )
    epochs = []
    for epoch in range(3):
        at = epoch * found.num_sequences
        sequences = [found.sequence(at + n) for n in range(found.num_sequences)]
        assert {sequence.epoch for sequence in sequences} == {epoch}
        seen: Counter[str] = Counter()
        places = set()
        for sequence in sequences:
            assert 0 < sequence.num_positions <= CONTEXT
            for segment, first, length, _ in told(sequence):
                seen[segment] += length
                assert (segment, first) not in places
                places.add((segment, first))
        assert seen == in_all
        epochs.append([told(sequence) for sequence in sequences])
    assert epochs[0] != epochs[1] != epochs[2]
    assert found.counted(0) == Counted(NUM_ROWS, num_cut=4, num_left_out=0, num_none=0)
    assert found.positions_of(0) == sum(rows.values())


def test_documents_carry_the_codes_and_words_of_their_segments(
    output: Path, cache_folder: Path
) -> None:
    rows = {row.segment_id: (row, codes) for row, codes in made_rows(frames())}
    sequences = loader(output, cache_folder=cache_folder).batch(2).sequences
    for sequence in sequences:
        at = 0
        for document in sequence.documents:
            row, codes_FC = rows[document.segment_id]
            stop = document.first + document.length
            np.testing.assert_array_equal(document.content.T, codes_FC[document.first : stop])
            assert document.value("text") == row.text
            assert document.start == at
            at += document.length
    codes_BCT = stack_codes(sequences, 8, CONTEXT)
    numbers_BT = document_numbers(sequences, CONTEXT)
    for codes_CT, numbers_T, sequence in zip(codes_BCT, numbers_BT, sequences, strict=True):
        for number, document in enumerate(sequence.documents):
            np.testing.assert_array_equal(codes_CT[:, numbers_T == number], document.content)
        assert not codes_CT[:, numbers_T == -1].any()


def test_threads_that_work_ahead_change_nothing(output: Path, cache_folder: Path) -> None:
    found = loader(output, cache_folder=cache_folder)
    for ahead in (0, 1, 3):
        coming = found.batches(3, rank=1, world_size=2, ahead=ahead)
        batches = [next(coming) for _ in range(5)]
        coming.close()
        assert [batch.step for batch in batches] == [3, 4, 5, 6, 7]
        assert order(batches) == order(found.batch(s, rank=1, world_size=2) for s in range(3, 8))


def test_everything_that_decides_a_batch_is_in_the_digest(
    output: Path, other_output: Path, cache_folder: Path
) -> None:
    digests = [
        loader(output, cache_folder=cache_folder, **more).digest
        for more in ({}, {"seed": 1}, {"context_length": 64}, {"window_groups": 2})
    ]
    digests += [
        loader(output, cache_folder=cache_folder, sequences_per_step=3).digest,
        loader(other_output, cache_folder=cache_folder).digest,
        loader(output, other_output, cache_folder=cache_folder).digest,
        loader(output, source(other_output, 0.1), cache_folder=cache_folder).digest,
    ]
    assert len(set(digests)) == len(digests)


def test_another_plan_is_refused_and_says_what_differs(
    output: Path, other_output: Path, cache_folder: Path
) -> None:
    state = loader(output, cache_folder=cache_folder).state(7)
    for changed, told_so in (
        (loader(output, cache_folder=cache_folder, seed=3), "seed is 3, was 0"),
        (loader(source(output, 2.0), cache_folder=cache_folder), "weight .* is 2, was 1"),
        (loader(output, other_output, cache_folder=cache_folder), "2 sources, were 1"),
        (loader(other_output, cache_folder=cache_folder), "the shards of .* are others"),
    ):
        with pytest.raises(TrainingError, match=f"stopped at step 7 of another plan: {told_so}"):
            changed.resume(state)


def test_an_output_that_grew_is_refused_unless_its_old_version_is_named(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    commit_shards(out, made_rows(frames(40)), rows_per_group=10)
    before = loader(out, cache_folder=cache)
    state, found = before.state(2), steps(before, 2, 4)
    commit_shards(out, made_rows([20] * 9, seed=5))
    with pytest.raises(TrainingError, match=r"at version 1, is at 2; .* name version=1"):
        loader(out, cache_folder=cache).resume(state)
    pinned = loader(source(out, version=1), cache_folder=cache)
    assert steps(pinned, pinned.resume(state), 4) == found


def test_a_stray_file_among_the_shards_is_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    commit_shards(out, made_rows(frames(20)))
    before = loader(out, cache_folder=tmp_path / "cache").digest
    (out / "shards" / "shard-torn-0-0123456789ab.parquet").write_bytes(b"PAR1")
    assert loader(out, cache_folder=tmp_path / "cache").digest == before


def test_codes_of_two_tokenizers_are_never_mixed(
    output: Path, tmp_path: Path, cache_folder: Path
) -> None:
    other = '{"tokenizer":"another"}'
    commit_shards(tmp_path / "other", made_rows([9] * 5, seed=3), fingerprint=other)
    with pytest.raises(ModelError, match="tokenizer 'another' instead of 'made up'"):
        loader(output, tmp_path / "other", cache_folder=cache_folder)
    commit_shards(tmp_path / "other", made_rows([9] * 5, seed=4))
    with pytest.raises(OutputError, match=r"shards of 2 tokenizers .*shard-.* by .*; tokenize all"):
        loader(tmp_path / "other", cache_folder=cache_folder)


def test_damage_is_named_and_never_read(tmp_path: Path) -> None:
    (path,) = commit_shards(tmp_path / "out", made_rows(frames(30)), rows_per_group=30)
    clean = path.read_bytes()
    group = pq.read_metadata(path).row_group(0)
    read = [group.column(n) for n in range(group.num_columns)]
    for column in (c for c in read if c.path_in_schema[0] == "q" or c.path_in_schema == "text"):
        start = column.dictionary_page_offset or column.data_page_offset
        size = column.total_compressed_size
        for offset in (start + size - size // 4, start + size - 3):
            damaged = bytearray(clean)
            damaged[offset] ^= 0x10
            path.write_bytes(damaged)
            with pytest.raises(OutputError, match=f"{path.name}: row group 0, .*restore the file"):
                loader(tmp_path / "out", cache_folder=tmp_path / "cache").batch(0)


@pytest.mark.parametrize("fault", ["deleted", "truncated", "replaced"])
def test_a_shard_that_changes_under_a_run_stops_it(tmp_path: Path, fault: str) -> None:
    paths = commit_shards(tmp_path / "out", made_rows(frames(60)), rows_per_shard=10)
    found = loader(tmp_path / "out", cache_folder=tmp_path / "cache", window_groups=1)
    found.batch(0)
    for path in paths:
        if fault == "deleted":
            path.unlink()
        elif fault == "truncated":
            os.truncate(path, path.stat().st_size // 2)
        else:
            path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(OutputError, match=r"shard-[0-9a-f]+.*parquet"):
        loader(tmp_path / "out", cache_folder=tmp_path / "cache").batch(0)
    with pytest.raises(OutputError, match=r"shard-[0-9a-f]+.*parquet"):
        [found.batch(step) for step in range(60)]


def test_what_cannot_be_asked_for_is_refused(output: Path, cache_folder: Path) -> None:
    found = loader(output, cache_folder=cache_folder)
    with pytest.raises(TrainingError, match="6 sequences a step cannot be dealt to 4 ranks"):
        found.batch(0, world_size=4)
    with pytest.raises(TrainingError, match="step 0 of rank 2 of 2 is none"):
        found.batch(0, rank=2, world_size=2)
    with pytest.raises(SpecError, match="context_length is 0, wanted 1 or more"):
        loader(output, cache_folder=cache_folder, context_length=0)
    with pytest.raises(SpecError, match=r"weight 0\.0, wanted a number above 0"):
        source(output, 0.0)
    with pytest.raises(OutputError, match="no manifest beside the shards"):
        loader(cache_folder, cache_folder=cache_folder)
    for uri in (f"{cache_folder}/nope", f"{cache_folder}/nope/shards", "memory://nope/out"):
        with pytest.raises(OutputError, match=f"^{uri}: there is no such folder"):
            loader(uri, cache_folder=cache_folder)


def test_the_view_has_a_length_and_gives_sequences_by_number(
    output: Path, cache_folder: Path
) -> None:
    found = loader(output, cache_folder=cache_folder)
    view = SequenceView(found)
    assert len(view) == found.num_sequences
    assert [told(view[number]) for number in range(len(view))] == [
        told(found.sequence(number)) for number in range(len(view))
    ]
    assert told(view[-1]) == told(view[len(view) - 1])
    with pytest.raises(IndexError):
        view[len(view)]
    assert len(SequenceView(found, 3)) == 3
    elsewhere = pickle.loads(pickle.dumps(view))
    assert told(elsewhere[5]) == told(view[5])
