"""The language model against stored outputs of the published one (`golden/README.md`)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model import MiMoAudio
from model.patch_encoder import embed_codes
from model.prompt_ids import split_ids

GOLDEN = Path(__file__).parent / "golden" / "lm-tiny"
NUM_GROUPS = 84


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "vectors.safetensors")


@pytest.fixture(scope="module")
def model() -> MiMoAudio:
    special = json.loads((GOLDEN / "meta.json").read_text())["special_tokens"]
    return MiMoAudio.from_pretrained(GOLDEN, special)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def input_ids(golden: dict[str, Tensor]) -> Tensor:
    return golden["seq/input_ids"].unsqueeze(0)


def distance(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


def test_patches_are_embedded_and_encoded_as_published(
    model: MiMoAudio, golden: dict[str, Tensor], input_ids: Tensor
) -> None:
    text, codes = split_ids(input_ids, model.spec, model.special_tokens.empty)
    is_audio = text[0] == model.special_tokens.empty
    frames = embed_codes(model.speech_embeddings, codes[0], model.spec.empty_codes)
    assert distance(frames[is_audio], golden["seq/speech_embed_sum"][is_audio]) < 1e-5
    encoded = model.input_local_transformer.encode(frames, is_audio)
    wanted = golden["seq/patch_encoder_out"].flatten(1)
    assert distance(encoded[is_audio], wanted[is_audio]) < 1e-4
    assert not bool(encoded[~is_audio].any())
    projected = model.speech_group_downcast(encoded).unsqueeze(0)
    assert distance(projected, golden["seq/speech_projected"]) < 1e-4


def test_the_backbone_gets_what_the_published_one_gets(
    model: MiMoAudio, golden: dict[str, Tensor], input_ids: Tensor
) -> None:
    assert distance(model.embed(input_ids), golden["seq/inputs_embeds"]) < 1e-4


def test_the_text_row_of_an_audio_position_is_zero(
    model: MiMoAudio, golden: dict[str, Tensor], input_ids: Tensor
) -> None:
    other = MiMoAudio.from_pretrained(GOLDEN, model.special_tokens)
    with torch.no_grad():
        other.model.embed_tokens.weight[other.special_tokens.empty] += 100.0
    assert torch.equal(other.embed(input_ids), model.embed(input_ids))


def test_every_layer_is_the_published_one(
    model: MiMoAudio, golden: dict[str, Tensor], input_ids: Tensor
) -> None:
    seen: list[int] = []

    def compare(number: int, output: Tensor) -> None:
        seen.append(number)
        assert distance(output, golden[f"seq/layer{number}_out"]) < 1e-4

    model.model(model.embed(input_ids), after_layer=compare)
    assert seen == [0, 1, 2]


def test_logits_and_hidden_states_of_all_positions(
    model: MiMoAudio, golden: dict[str, Tensor], input_ids: Tensor
) -> None:
    found = model(input_ids)
    assert distance(found.hidden, golden["seq/hidden"]) < 1e-4
    assert distance(found.text_logits, golden["seq/text_logits_all"]) < 1e-4
    local = model.hidden_states_downcast(found.hidden)
    assert distance(local, golden["seq/local_hidden_all"]) < 1e-4


def test_prefill_gives_the_last_position(
    model: MiMoAudio, golden: dict[str, Tensor], input_ids: Tensor
) -> None:
    logits, hidden = model.prefill(input_ids, None, model.new_cache(1, NUM_GROUPS))
    assert distance(logits, golden["seq/text_logits_last"][:, 0]) < 1e-4
    local = model.hidden_states_downcast(hidden)
    assert distance(local, golden["seq/local_hidden_last"][:, 0]) < 1e-4


def test_logits_of_a_teacher_forced_patch(model: MiMoAudio, golden: dict[str, Tensor]) -> None:
    hidden = golden["seq/hidden"][:, int(golden["local/position"]) - 1]
    assert distance(model.hidden_states_downcast(hidden), golden["local/hidden_in"][0]) < 1e-4
    found = model.patch_logits(hidden, golden["local/forced_tokens"].long().unsqueeze(0))
    for channel, logits in enumerate(found):
        assert distance(logits[0], golden[f"local/logits_ch{channel}"]) < 1e-4


def test_step_by_step_the_same_logits(model: MiMoAudio, golden: dict[str, Tensor]) -> None:
    hidden = golden["seq/hidden"][:, int(golden["local/position"]) - 1]
    steps = model.patch_steps(1)
    logits = steps.start(hidden)
    for step in range(steps.num_steps):
        tokens = {}
        for channel, found in logits.items():
            frame = step - model.spec.delays[channel]
            empty = model.spec.empty_codes[channel]
            wanted = golden[f"local/logits_ch{channel}"][frame].clone()
            assert float(found[0, empty]) == float("-inf")
            kept = torch.arange(len(wanted)) != empty
            assert distance(found[0, kept], wanted[kept]) < 1e-4
            tokens[channel] = golden["local/forced_tokens"][frame, channel].long().view(1)
        logits = steps.next(tokens)
    assert logits == {}
    assert torch.equal(steps.codes[0], golden["local/forced_tokens"].long())


def test_bfloat16_is_close(golden: dict[str, Tensor], model: MiMoAudio, input_ids: Tensor) -> None:
    half = MiMoAudio.from_pretrained(GOLDEN, model.special_tokens, dtype=torch.bfloat16)
    found = half(input_ids)
    for name, value in (("hidden", found.hidden), ("text_logits_all", found.text_logits)):
        wanted = golden[f"bf16/seq/{name}"]
        cosine = torch.cosine_similarity(value.float().flatten(), wanted.flatten(), dim=0)
        assert float(cosine) > 0.998
        assert distance(value.float(), wanted) < 0.1
