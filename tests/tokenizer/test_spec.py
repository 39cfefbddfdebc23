"""`tokenizer/spec.py`: the published configuration, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import TokenizerError
from tokenizer.spec import TokenizerSpec

RELEASED = Path(__file__).parents[1] / "parity" / "golden" / "released" / "tokenizer-config.json"


@pytest.fixture
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(RELEASED.read_text())
    return loaded


def test_the_released_configuration_has_the_published_rates() -> None:
    spec = TokenizerSpec.read(RELEASED)
    assert spec.samples_per_frame == 960
    assert spec.frame_rate_hz == 25
    assert spec.codebook_sizes == (1024, 1024, *[128] * 18)
    assert spec.max_hz == 12_000
    assert spec.decoder.window == (-1, 0)
    assert spec.encoder.window == (-1, -1)
    assert spec.vocoder.window == (40, 10)
    assert spec.min_samples == 960


@pytest.mark.parametrize(
    ("samples", "hops", "rows", "frames"),
    [(24000, 101, 51, 26), (12700, 53, 27, 14), (40877, 171, 86, 43), (47999, 200, 100, 50)],
)
def test_lengths_are_the_published_ones(samples: int, hops: int, rows: int, frames: int) -> None:
    spec = TokenizerSpec.read(RELEASED)
    assert spec.num_hops(samples) == hops
    assert spec.num_stem_rows(hops) == rows
    assert spec.num_frames(hops) == frames


@given(st.integers(1, 10_000_000))
def test_every_sample_falls_into_some_frame(num_samples: int) -> None:
    spec = TokenizerSpec.read(RELEASED)
    frames = spec.num_frames(spec.num_hops(num_samples))
    assert num_samples < (frames + 1) * spec.samples_per_frame
    assert (frames - 1) * spec.samples_per_frame <= num_samples


def test_a_spec_survives_being_written_and_read(config: dict[str, Any]) -> None:
    spec = TokenizerSpec.from_config(config)
    assert TokenizerSpec.from_config(json.loads(json.dumps(spec.to_config()))) == spec


def test_a_short_list_of_sizes_goes_on_with_its_last_and_stays_as_it_was(
    config: dict[str, Any],
) -> None:
    config["codebook_size"] = [1024, 256]
    assert TokenizerSpec.from_config(config).codebook_sizes == (1024, *[256] * 19)
    assert config["codebook_size"] == [1024, 256]


def test_one_size_is_for_all_codebooks(config: dict[str, Any]) -> None:
    config["codebook_size"] = 512
    assert TokenizerSpec.from_config(config).codebook_sizes == (512,) * 20


def test_a_causal_flag_closes_the_right_side_of_the_window(config: dict[str, Any]) -> None:
    config |= {"encoder_causal": True, "encoder_attn_window_size": [100, 100]}
    assert TokenizerSpec.from_config(config).encoder.window == (100, 0)


@pytest.mark.parametrize("key", ["d_model", "codebook_size", "vocoder_attn_window_size"])
def test_a_missing_key_is_named_and_never_guessed(config: dict[str, Any], key: str) -> None:
    del config[key]
    with pytest.raises(TokenizerError, match=f"missing {key}"):
        TokenizerSpec.from_config(config)


def test_an_unknown_key_is_named(config: dict[str, Any]) -> None:
    with pytest.raises(TokenizerError, match="unknown key 'd_modle'"):
        TokenizerSpec.from_config({**config, "d_modle": 3})


def test_keys_without_effect_are_taken(config: dict[str, Any]) -> None:
    more = {"transformers_version": "4.49.0", "architectures": ["X"], "scale_embedding": True}
    assert TokenizerSpec.from_config({**config, **more}) == TokenizerSpec.from_config(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen2"}, "model_type is 'qwen2'"),
        ({"kernel_size": 5}, "kernel_size is 5, wanted 3"),
        ({"avg_pooler": 1}, "avg_pooler is 1, wanted 2 or more"),
        ({"d_model": "1280"}, "d_model is '1280', wanted an integer"),
        ({"d_model": True}, "d_model is True, wanted an integer"),
        ({"d_model": 0}, "encoder width is 0"),
        ({"encoder_attention_heads": 3}, "encoder num_heads is 3"),
        ({"encoder_skip_layer_id": 33}, r"encoder_skip_layer_id is 33, wanted null or 1\.\.32"),
        ({"activation_function": "relu"}, "activation_function is 'relu', wanted 'gelu'"),
        ({"ln_type": "BatchNorm"}, "ln_type is 'BatchNorm'"),
        ({"rope_type": "yarn"}, "rope_type is 'yarn'"),
        ({"rope_theta": 0}, "rope_theta is 0.0"),
        ({"codebook_size": [1024, 1]}, "codebook_size is 1"),
        ({"codebook_size": [70_000]}, "codebook_size is 70000"),
        ({"codebook_size": [8] * 21}, "1 to 20 entries"),
        ({"codebook_size": "1024"}, "codebook_size is '1024', wanted an integer or a list"),
        ({"codebook_size": ["1024"]}, "wanted an integer or a list of integers"),
        ({"fmax": 13_000}, "0 <= fmin < fmax <= 12000 Hz"),
        ({"nfft": 800}, "nfft is 800"),
        ({"hop_length": 241}, "hop_length is 241"),
        ({"sampling_rate": 24_001}, "sampling_rate is 24001, wanted a multiple of the 960"),
        ({"decoder_stride_size": 3}, "decoder_stride_size is 3"),
        ({"decoder_kernel_size": 1}, "decoder_kernel_size is 1"),
        ({"vocoder_padding": "valid"}, "vocoder_padding is 'valid'"),
        ({"decoder_attn_window_size": [-2, 0]}, r"decoder_attn_window_size is \[-2, 0\]"),
        ({"fmin": None}, "wrong type"),
    ],
)
def test_a_bad_value_is_refused_with_what_was_wanted(
    config: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TokenizerError, match=message):
        TokenizerSpec.from_config({**config, **change})


def test_a_config_that_is_not_json_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(TokenizerError, match=r"config\.json: no such file"):
        TokenizerSpec.read(path)
    path.write_text("{")
    with pytest.raises(TokenizerError, match="not JSON"):
        TokenizerSpec.read(path)
    path.write_text("[]")
    with pytest.raises(TokenizerError, match="holds a list"):
        TokenizerSpec.read(path)
