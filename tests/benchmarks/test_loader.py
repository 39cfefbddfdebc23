"""The loader's benchmark measures what it says, and its plain packing loop loses nothing."""

import json

import numpy as np
import pytest

from benchmarks.loader import frames_of, main
from benchmarks.loader_worker import CODEBOOKS, CONTEXT, PEERS, Codes, pack_plainly


def test_the_short_form_gives_every_figure_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--short", "--without-peers"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0.3 <= found["hours"] < 0.31
    assert 8.0 < found["bytes_per_frame"] < 10.0
    assert found["audio_hours_per_second_per_core"] > 0
    assert found["ours"]["sequences_per_second"] > 0
    assert {key for key in found if key.startswith("resume_s_at_")} == {
        *("resume_s_at_10", "resume_s_at_1000", "resume_s_at_100000")
    }
    for peer in PEERS:
        assert found[f"ours_over_{peer}"] is None
        assert peer not in found


def test_lengths_are_seeded_and_as_long_as_asked_for() -> None:
    frames = list(frames_of(2.0))
    assert frames == list(frames_of(2.0))
    assert 2.0 <= sum(frames) / (25 * 3600) < 2.01
    assert min(frames) >= 75
    assert max(frames) <= 750


def test_the_plain_loop_packs_every_row_whole() -> None:
    rows: list[tuple[str, Codes]] = [
        (str(n), np.full((CODEBOOKS, CONTEXT // 3 + n), n + 1, np.uint16)) for n in range(4)
    ]
    packed = [(codes_CT.copy(), ids) for codes_CT, ids in pack_plainly(rows)]
    assert [ids for _, ids in packed] == [["0", "1"], ["2", "3"]]
    for codes_CT, ids in packed:
        for segment_id in ids:
            number = int(segment_id)
            assert (codes_CT == number + 1).sum() == rows[number][1].size
