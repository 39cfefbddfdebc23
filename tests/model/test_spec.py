"""`model/spec.py`: configurations, read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.small import medium_spec, small_spec
from model.spec import ModelSpec
from schemas.errors import ModelError

RELEASED = Path(__file__).parents[1] / "parity" / "golden" / "released" / "lm-config.json"


@pytest.fixture
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(RELEASED.read_text())
    return loaded


def test_the_released_configuration(config: dict[str, Any]) -> None:
    spec = ModelSpec.read(RELEASED)
    assert spec == ModelSpec.from_config(spec.to_config())
    assert spec.channel_sizes == (1025, 1025, 129, 129, 129, 129, 129, 129)
    assert (spec.patch_steps, spec.context_groups, spec.rope_theta) == (11, 8192, 640_000)
    assert (spec.patch_encoder.head_width, spec.patch_encoder.ffn_width) == (16, 4096)
    assert not spec.patch_encoder.causal
    assert spec.patch_decoder.causal


@pytest.mark.parametrize("spec", [small_spec(), medium_spec()])
def test_what_is_written_is_read_back(spec: ModelSpec) -> None:
    assert ModelSpec.from_config(spec.to_config()) == spec


def test_what_a_configuration_may_leave_out(config: dict[str, Any]) -> None:
    wanted = ModelSpec.from_config(config)
    for key in ("head_dim", "input_local_dim", "local_attn_dropout", "n_rvq", "rope_scaling"):
        del config[key]
    assert ModelSpec.from_config(config) == wanted
    del config["input_full_attention"]
    assert ModelSpec.from_config(config).patch_encoder.causal


def test_a_plain_number_means_every_channel(config: dict[str, Any]) -> None:
    config |= {"speech_vocab_size": 1025, "speech_zeroemb_idx": "1024"}
    spec = ModelSpec.from_config(config)
    assert spec.channel_sizes == (1025,) * 8
    assert spec.empty_codes == (1024,) * 8


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rope_parameters", {"rope_type": "yarn"}, "rope_type is 'yarn', wanted 'default'"),
        ("tie_word_embeddings", True, "tie_word_embeddings is True, wanted False"),
        ("use_sliding_window", True, "use_sliding_window is True, wanted False"),
        ("rope_scaling", {"type": "yarn"}, "rope_scaling is .*, wanted None"),
        ("hidden_act", "gelu", "hidden_act is 'gelu', wanted 'silu'"),
        ("model_type", "llama", "model_type is 'llama', wanted 'qwen2'"),
        ("hidden_size", "4096", "hidden_size is '4096', wanted an integer"),
        ("num_key_value_heads", 7, "backbone num_heads is 32, wanted a multiple of its 7"),
        ("delay_pattern", "0-1-2", "delay_pattern is '0-1-2', wanted 8 entries"),
        ("delay_pattern", "0-x", "wanted numbers joined by dashes"),
        ("speech_zeroemb_idx", 1024, r"speech_zeroemb_idx is 1024, wanted 0\.\.128"),
        ("group_size", 0, "group_size is 0, wanted a positive integer"),
        ("rope_theta", None, "a value has the wrong type"),
    ],
)
def test_what_is_refused(config: dict[str, Any], key: str, value: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_config(config | {key: value})


def test_a_key_that_means_nothing_is_said_to(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    wanted = ModelSpec.from_config(config)
    assert not caplog.messages
    assert ModelSpec.from_config(config | {"chunk_size": 8}) == wanted
    assert "key 'chunk_size' is unknown to this model and has no effect" in caplog.text


def test_the_base_of_rotation_may_stand_where_newer_libraries_put_it(
    config: dict[str, Any],
) -> None:
    wanted = ModelSpec.from_config(config)
    theta = config.pop("rope_theta")
    with pytest.raises(ModelError, match="missing rope_theta"):
        ModelSpec.from_config(config)
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    assert ModelSpec.from_config(config) == wanted


def test_a_missing_key_is_named(config: dict[str, Any]) -> None:
    del config["local_dim"]
    with pytest.raises(ModelError, match="config: missing local_dim"):
        ModelSpec.from_config(config)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: no such file"):
        ModelSpec.read(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json: not JSON"):
        ModelSpec.read(tmp_path / "config.json")
