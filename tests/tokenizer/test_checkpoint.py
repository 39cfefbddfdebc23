"""`tokenizer/checkpoint.py`: folders, key for key."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.errors import TokenizerError
from tests.tokenizer.make_sound import make_sound
from tokenizer import Tokenizer
from tokenizer.checkpoint import load_model
from tokenizer.model import TokenizerModel
from tokenizer.small import small_spec
from tokenizer.spec import TokenizerSpec

ROOT = Path(__file__).parents[2]
RELEASED = ROOT / "tests" / "parity" / "golden" / "released"
CPU = torch.device("cpu")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to spoil."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_folder / name).read_bytes())
    return tmp_path


def spoil(folder: Path, name: str, tensor: torch.Tensor | None) -> None:
    """Replace a tensor of the file, or take it out."""
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(name, None)
    more = {} if tensor is None else {name: tensor}
    save_file({**tensors, **more}, folder / "model.safetensors")


def test_the_released_size_has_the_published_names_shapes_and_count() -> None:
    spec = TokenizerSpec.read(RELEASED / "tokenizer-config.json")
    model = TokenizerModel.without_storage(spec)
    found = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert found == json.loads((RELEASED / "tokenizer-keys.json").read_text())
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_284_653_122


def test_every_tensor_of_the_file_is_in_the_model_as_it_was(tiny_folder: Path) -> None:
    model, _ = load_model(tiny_folder, CPU, torch.float32)
    state = model.state_dict()
    stored = load_file(tiny_folder / "model.safetensors")
    assert state.keys() == stored.keys()
    for name, tensor in stored.items():
        assert torch.equal(state[name], tensor), name


def test_in_half_precision_codebooks_and_window_stay_float32(tiny_folder: Path) -> None:
    model, _ = load_model(tiny_folder, CPU, torch.bfloat16)
    for name, tensor in model.state_dict().items():
        kept = "_codebook" in name or name.endswith("istft.window")
        assert tensor.dtype == (torch.float32 if kept else torch.bfloat16), name


def test_a_missing_key_is_named(folder: Path) -> None:
    spoil(folder, "decoder.dconv1.norm.weight", None)
    with pytest.raises(TokenizerError, match=r"key 'decoder\.dconv1\.norm\.weight' is missing"):
        Tokenizer.from_pretrained(folder)


def test_an_unknown_key_is_named(folder: Path) -> None:
    spoil(folder, "encoder.econv1.weight", torch.zeros(3))
    with pytest.raises(TokenizerError, match=r"key 'encoder\.econv1\.weight' is unknown"):
        Tokenizer.from_pretrained(folder)


def test_a_misshapen_key_is_named_with_both_shapes(folder: Path) -> None:
    spoil(folder, "encoder.conv1.bias", torch.zeros(65))
    wanted = r"key 'encoder\.conv1\.bias' has shape \[65\], wanted \[64\]"
    with pytest.raises(TokenizerError, match=wanted):
        Tokenizer.from_pretrained(folder)


def test_a_key_of_another_kind_is_named(folder: Path) -> None:
    spoil(folder, "encoder.conv1.bias", torch.zeros(64, dtype=torch.int32))
    with pytest.raises(TokenizerError, match=r"key 'encoder\.conv1\.bias' is I32, wanted one of"):
        Tokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kept", [0, 7, 100, 500_000])
def test_a_file_that_ends_early_is_refused_by_name(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TokenizerError, match=r"model\.safetensors: "):
        Tokenizer.from_pretrained(folder)


def test_a_file_that_is_no_safetensors_is_refused_by_name(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04" * 1000)
    with pytest.raises(TokenizerError, match=r"model\.safetensors: not a safetensors file"):
        Tokenizer.from_pretrained(folder)


def test_a_folder_without_weights_is_refused_by_name(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(TokenizerError, match=r"model\.safetensors: no such file"):
        Tokenizer.from_pretrained(folder)
    with pytest.raises(TokenizerError, match=r"config\.json: no such file"):
        Tokenizer.from_pretrained(folder / "nowhere")


def test_a_file_without_training_buffers_gives_the_same_codes(
    folder: Path, tiny: Tokenizer
) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.endswith(("inited", "cluster_size", "embed_avg"))
    }
    assert len(tensors) - len(kept) == 60
    save_file(kept, folder / "model.safetensors")
    tokenizer = Tokenizer.from_pretrained(folder)
    sound = make_sound(24_000)
    assert torch.equal(tokenizer.encode([sound], 20)[0], tiny.encode([sound], 20)[0])
    assert tokenizer.fingerprint() == tiny.fingerprint()
    for book in tokenizer.model.encoder.quantizer.codebooks:
        average = book.embed_avg / book.cluster_size.unsqueeze(1)
        torch.testing.assert_close(average, book.embed)
        assert bool(book.inited)


def test_weights_stored_in_half_precision_load_in_float32(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()},
        folder / "model.safetensors",
    )
    model, _ = load_model(folder, CPU, torch.float32)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensors[name].to(torch.bfloat16).float())


MEASURE = """
import resource, sys
import torch
from tokenizer.checkpoint import load_model
from pathlib import Path
def status(key):
    return int(open("/proc/self/status").read().split(key + ":")[1].split()[0]) * 1024
before = status("VmRSS")
model, _ = load_model(Path(sys.argv[1]), torch.device("cpu"), torch.float32)
print(status("VmHWM") - before)
"""


def test_loading_holds_the_weights_once(tmp_path: Path) -> None:
    from dataclasses import replace

    spec = small_spec()
    wide = replace(spec.encoder, width=768, ffn_width=3072, num_heads=8)
    spec = replace(spec, encoder=wide, decoder=replace(wide, num_layers=1, window=(-1, 0)))
    model = TokenizerModel(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    Tokenizer(model, weights_sha256="zeros").save_pretrained(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size > 100e6
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 1.3 * size
