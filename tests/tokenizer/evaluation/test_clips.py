"""The round trip over clips: three outcomes, means and counts."""

import json
import sys

import numpy as np
import pytest

from schemas.codes import Waveform
from schemas.errors import TokenizerError
from tests.tokenizer.make_sound import make_sound
from tokenizer import Tokenizer
from tokenizer.evaluation import METRICS, evaluate

RATE_HZ = 24_000


def clip(seconds: float, seed: int = 0) -> Waveform:
    samples: Waveform = make_sound(int(seconds * RATE_HZ), seed=seed).numpy()
    return samples


def test_every_clip_is_kept_dropped_or_failed(tiny: Tokenizer) -> None:
    broken = clip(1.0)
    broken[5] = np.nan
    heard: dict[str, Waveform] = {}
    clips = {
        "good": clip(1.0),
        "short": clip(0.2),
        "empty": np.zeros(0, np.float32),
        "silent": np.full(RATE_HZ, 1e-4, np.float32),
        "broken": broken,
        "other": clip(1.5, seed=1),
    }
    found = evaluate(clips.items(), tiny, on_decoded=heard.__setitem__)
    assert [result.outcome for result in found.clips] == [
        "kept", "dropped", "dropped", "dropped", "failed", "kept",
    ]  # fmt: skip
    causes = [result.cause for result in found.clips]
    assert causes[0] == ""
    assert causes[1].startswith("too short: 0.200 s")
    assert causes[3].startswith("silent: peak 0.0001")
    assert "nan at sample 5" in causes[4]
    assert {name: len(decoded) for name, decoded in heard.items()} == {
        "good": RATE_HZ,
        "other": RATE_HZ * 3 // 2,
    }
    assert found.audio_s == 2.5


def test_the_summary_holds_means_layers_and_published_rows(tiny: Tokenizer) -> None:
    clips = {str(seed): clip(1.0, seed) for seed in range(3)}
    found = evaluate(clips.items(), tiny, num_codebooks=4)
    summary = json.loads(json.dumps(found.summary()))
    assert summary["num_kept"] == 3
    sizes = tiny.codebook_sizes[:4]
    assert summary["codebook_sizes"] == list(sizes)
    assert len(summary["codebook_use"]) == len(summary["codebook_perplexity"]) == 4
    assert summary["bitrate_kbps"] == pytest.approx(25 * np.log2(sizes).sum() / 1000)
    for metric in METRICS:
        values = [getattr(result.scores, metric) for result in found.clips]
        defined = [value for value in values if value is not None]
        assert summary[metric] == (pytest.approx(np.mean(defined)) if defined else None)
    assert {row["name"] for row in summary["published"]} >= {"EnCodec 24 kHz"}


def test_no_clip_at_all_has_no_means(tiny: Tokenizer) -> None:
    summary = evaluate([], tiny).summary()
    assert [summary[metric] for metric in METRICS] == [None] * 5
    assert summary["audio_seconds_per_second"] is None


def test_codebooks_that_are_not_there_are_refused_at_once(tiny: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="num_codebooks is 33"):
        evaluate([], tiny, num_codebooks=33)


def test_one_line_says_that_pesq_is_missing(
    tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    found = evaluate([("good", clip(1.0))], tiny)
    assert found.mean("pesq_wb") is None
    assert "pip install 'audiomill[eval]'" in found.note
