"""`model/checkpoint.py`: folders in one file or in shards, key for key."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import MiMoAudio, ModelSpec, SpecialTokens, small_model, small_spec
from model.checkpoint import INDEX_NAME, WEIGHTS_NAME
from model.small import small_special_tokens
from schemas.errors import ModelError

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "parity" / "golden"
SHARD_BYTES = 1_500_000


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in several shards."""
    folder = tmp_path_factory.mktemp("sharded")
    small_model().save_pretrained(folder, shard_bytes=SHARD_BYTES)
    return folder


@pytest.fixture
def folder(sharded: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    for path in sharded.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def shard_with(folder: Path, name: str) -> Path:
    index = json.loads((folder / INDEX_NAME).read_text())
    return folder / str(index["weight_map"][name])


def spoil(folder: Path, name: str, tensor: torch.Tensor | None) -> None:
    """Replace a tensor in its shard, or take it out."""
    path = shard_with(folder, name)
    tensors = load_file(path)
    tensors.pop(name)
    save_file(tensors if tensor is None else {**tensors, name: tensor}, path)


def test_the_released_size_has_the_published_names_shapes_and_count() -> None:
    released = GOLDEN / "released"
    spec = ModelSpec.read(released / "lm-config.json")
    special = json.loads((released / "special-token-ids.json").read_text())
    model = MiMoAudio.without_storage(spec, SpecialTokens.from_mapping(special))
    found = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert found == json.loads((released / "lm-keys.json").read_text())
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_018_587_648


def test_every_tensor_of_the_file_is_in_the_model_and_back_in_the_file(tmp_path: Path) -> None:
    special = json.loads((GOLDEN / "lm-tiny" / "meta.json").read_text())["special_tokens"]
    model = MiMoAudio.from_pretrained(GOLDEN / "lm-tiny", special)
    stored = load_file(GOLDEN / "lm-tiny" / WEIGHTS_NAME)
    state = model.state_dict()
    assert state.keys() == stored.keys()
    for name, tensor in stored.items():
        assert torch.equal(state[name], tensor), name
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", WEIGHTS_NAME]
    again = load_file(tmp_path / WEIGHTS_NAME)
    assert all(torch.equal(again[name], tensor) for name, tensor in stored.items())


def test_what_a_configuration_says_besides_is_kept(folder: Path, tmp_path: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {"architectures": ["Other"], "eos_token_id": 256, "n_rvq": 20, "use_cache": True}
    path.write_text(json.dumps(config))
    model = MiMoAudio.from_pretrained(folder, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "copy")
    found = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert found == config | {"torch_dtype": "bfloat16"}


def test_shards_come_back_to_the_byte(sharded: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in sharded.iterdir())
    assert len(names) >= 5
    shards = [sharded / name for name in names if name.endswith(".safetensors")]
    assert all(path.stat().st_size < SHARD_BYTES + 20_000 for path in shards)
    MiMoAudio.from_pretrained(sharded).save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (sharded / name).read_bytes(), name


def test_what_an_index_says_besides_is_kept(folder: Path, tmp_path: Path) -> None:
    index = json.loads((folder / INDEX_NAME).read_text())
    assert index["metadata"]["total_size"] == 4 * sum(
        parameter.numel() for parameter in small_model().parameters()
    )
    index["metadata"]["total_parameters"] = 7
    (folder / INDEX_NAME).write_text(json.dumps(index))
    model = MiMoAudio.from_pretrained(folder)
    model.save_pretrained(tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / INDEX_NAME).read_text()) == index


def test_one_file_over_shards_replaces_them_and_shards_replace_it(folder: Path) -> None:
    model = small_model(seed=1)
    weight = model.lm_head.weight
    model.save_pretrained(folder)
    assert not (folder / INDEX_NAME).exists()
    assert torch.equal(MiMoAudio.from_pretrained(folder).lm_head.weight, weight)
    small_model(seed=2).save_pretrained(folder, shard_bytes=SHARD_BYTES)
    assert not torch.equal(MiMoAudio.from_pretrained(folder).lm_head.weight, weight)


def test_the_stored_dtype_is_kept_unless_another_is_asked_for(tmp_path: Path) -> None:
    small_model().to(torch.bfloat16).save_pretrained(tmp_path)
    model = MiMoAudio.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    model = MiMoAudio.from_pretrained(tmp_path, dtype=torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    with pytest.raises(ModelError, match=r"dtype is torch\.int8, wanted bfloat16"):
        MiMoAudio.from_pretrained(tmp_path, dtype=torch.int8)


def test_a_key_missing_from_its_shard_is_named(folder: Path) -> None:
    spoil(folder, "model.norm.weight", None)
    with pytest.raises(ModelError, match=r"key 'model\.norm\.weight' is missing; .* fetch both"):
        MiMoAudio.from_pretrained(folder)


def test_a_key_missing_from_the_index_is_named(folder: Path) -> None:
    index = json.loads((folder / INDEX_NAME).read_text())
    del index["weight_map"]["lm_head.weight"]
    (folder / INDEX_NAME).write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"index\.json: key 'lm_head\.weight' is missing"):
        MiMoAudio.from_pretrained(folder)


def test_an_unknown_key_is_named(folder: Path) -> None:
    path = shard_with(folder, "lm_head.weight")
    save_file({**load_file(path), "model.layers.0.self_attn.o_proj.bias": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match=r"key 'model\.layers\.0\.self_attn\.o_proj\.bias' is unk"):
        MiMoAudio.from_pretrained(folder)


def test_a_key_in_two_shards_is_named(folder: Path) -> None:
    first = shard_with(folder, "model.layers.0.mlp.up_proj.weight")
    name = "local_transformer.norm.weight"
    assert shard_with(folder, name) != first
    save_file({**load_file(first), name: load_file(shard_with(folder, name))[name]}, first)
    with pytest.raises(
        ModelError, match=r"key 'local_transformer\.norm\.weight' is not what .* say"
    ):
        MiMoAudio.from_pretrained(folder)


def test_a_misshapen_key_is_named_with_both_shapes(folder: Path) -> None:
    spoil(folder, "lm_head.weight", torch.zeros(320, 127))
    wanted = r"key 'lm_head\.weight' has shape \[320, 127\], wanted \[320, 128\]$"
    with pytest.raises(ModelError, match=wanted):
        MiMoAudio.from_pretrained(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    path = shard_with(folder, "lm_head.weight")
    path.unlink()
    with pytest.raises(ModelError, match=f"{path.name}: no such file"):
        MiMoAudio.from_pretrained(folder)


def test_a_shard_outside_the_folder_is_refused(folder: Path) -> None:
    index = json.loads((folder / INDEX_NAME).read_text())
    index["weight_map"]["lm_head.weight"] = "../model.safetensors"
    (folder / INDEX_NAME).write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"wanted the plain name of a file in the same folder"):
        MiMoAudio.from_pretrained(folder)


def test_a_shard_that_ends_early_is_refused(folder: Path) -> None:
    path = shard_with(folder, "lm_head.weight")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=f"{path.name}: is .* fetch it again"):
        MiMoAudio.from_pretrained(folder)


def test_a_folder_without_weights_names_both_layouts(folder: Path) -> None:
    (folder / INDEX_NAME).unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: no such file; .*index\.json has"):
        MiMoAudio.from_pretrained(folder)


def test_an_index_that_is_none_is_refused(folder: Path) -> None:
    (folder / INDEX_NAME).write_text("[]")
    with pytest.raises(ModelError, match=r"index\.json: not an index of shards"):
        MiMoAudio.from_pretrained(folder)


MEASURE = """
import sys
from model import MiMoAudio
def status(key):
    return int(open("/proc/self/status").read().split(key + ":")[1].split()[0]) * 1024
before = status("VmRSS")
model = MiMoAudio.from_pretrained(sys.argv[1])
print(status("VmHWM") - before)
"""


def test_loading_holds_the_weights_once(tmp_path: Path) -> None:
    spec = small_spec()
    wide = replace(spec.backbone, width=1024, head_width=256, ffn_width=4096, num_layers=3)
    spec = replace(spec, vocab_size=2048, backbone=wide)
    model = MiMoAudio.without_storage(spec, small_special_tokens()).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.save_pretrained(tmp_path, shard_bytes=60_000_000)
    size = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert size > 195e6
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 1.1 * size
