"""`model/mimo.py`: the model from its door."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model import MiMoAudio, SpecialTokens, pad_prompts, small_model, small_spec, untrained_model
from model.small import small_special_tokens
from schemas.errors import ModelError
from tests.model.make_ids import make_ids


@pytest.fixture(scope="module")
def model() -> MiMoAudio:
    return small_model()


def ids_of(model: MiMoAudio, num_groups: int, seed: int = 0) -> Tensor:
    return make_ids(model.spec, model.special_tokens, num_groups, seed)


def group_of(ids: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Text ids `[B]` and codes `[B, G, C]` of one group of `[B, 1 + C, T]`."""
    frames = ids[:, :, group * 4 : group * 4 + 4]
    return frames[:, 0, 0], frames[:, 1:].transpose(1, 2)


def test_forward_gives_every_position(model: MiMoAudio) -> None:
    with torch.no_grad():
        output = model(ids_of(model, 12).expand(2, -1, -1))
    assert output.text_logits.shape == (2, 12, 320)
    assert output.hidden.shape == (2, 12, 128)
    assert torch.equal(output.text_logits[0], output.text_logits[1])


def test_steps_with_a_cache_as_forward_without(model: MiMoAudio) -> None:
    ids = ids_of(model, 90).unsqueeze(0)
    with torch.no_grad():
        wanted = model(ids)
    cache = model.new_cache(1, 90)
    logits, hidden = model.prefill(ids[..., : 60 * 4], None, cache)
    for group in range(60, 91):
        torch.testing.assert_close(logits, wanted.text_logits[:, group - 1], atol=5e-5, rtol=1e-4)
        torch.testing.assert_close(hidden, wanted.hidden[:, group - 1], atol=5e-5, rtol=1e-4)
        assert int(logits.argmax()) == int(wanted.text_logits[0, group - 1].argmax())
        if group < 90:
            logits, hidden = model.step(*group_of(ids, group), cache)


def test_a_prompt_read_in_parts(model: MiMoAudio) -> None:
    ids = ids_of(model, 20).unsqueeze(0)
    whole = model.prefill(ids, None, model.new_cache(1, 20))
    cache = model.new_cache(1, 20)
    model.prefill(ids[..., :28], None, cache)
    parts = model.prefill(ids[..., 28:], None, cache)
    for found, wanted in zip(parts, whole, strict=True):
        torch.testing.assert_close(found, wanted, atol=5e-5, rtol=1e-4)


def test_unequal_prompts_as_each_alone(model: MiMoAudio) -> None:
    prompts = [ids_of(model, length, seed=length) for length in (3, 70, 1, 24)]
    padded, lengths = pad_prompts(prompts, model.spec)
    cache = model.new_cache(4, 80)
    found = model.prefill(padded, lengths, cache)
    more = torch.stack([ids_of(model, 4, seed=9 + row) for row in range(4)])
    steps = [model.step(*group_of(more, group), cache) for group in range(4)]
    for row, prompt in enumerate(prompts):
        alone = model.new_cache(1, 80)
        wanted = model.prefill(prompt.unsqueeze(0), None, alone)
        for group in range(-1, 4):
            if group >= 0:
                wanted = model.step(*group_of(more[row : row + 1], group), alone)
            batch = found if group < 0 else steps[group]
            for one, other in zip(batch, wanted, strict=True):
                torch.testing.assert_close(one[row], other[0], atol=5e-5, rtol=1e-4)


def test_empty_codes_add_nothing_and_their_text_neither(model: MiMoAudio) -> None:
    ids = ids_of(model, 8).unsqueeze(0)
    frame = int((ids[0, 0] == model.special_tokens.empty).nonzero()[0])
    ids[0, 1:, frame] = torch.tensor(model.spec.empty_codes)
    other = small_model()
    with torch.no_grad():
        other.model.embed_tokens.weight[other.special_tokens.empty] = 50.0
        for table, empty in zip(other.speech_embeddings, other.spec.empty_codes, strict=True):
            assert isinstance(table, torch.nn.Embedding)
            table.weight[empty] = 50.0
        assert torch.equal(other.embed(ids), model.embed(ids))


def test_gradients_reach_every_parameter() -> None:
    model = small_model().train()
    ids = ids_of(model, 12).unsqueeze(0)
    output = model(ids)
    audio = (ids[0, 0, ::4] == model.special_tokens.empty).nonzero()[:, 0]
    audio = audio[audio > 0]
    codes = ids[0, 1:].unflatten(1, (-1, 4)).permute(1, 2, 0)[audio]
    patches = model.patch_logits(output.hidden[0, audio - 1], codes)
    loss = output.text_logits.logsumexp(-1).mean() + sum(
        logits.logsumexp(-1).mean() for logits in patches
    )
    loss.backward()
    assert [name for name, part in model.named_parameters() if part.grad is None] == []


def test_widths_of_encoder_and_decoder_may_differ(tmp_path: Path) -> None:
    spec = small_spec()
    spec = replace(
        spec, patch_encoder=replace(spec.patch_encoder, width=32, head_width=8, ffn_width=128)
    )
    model = untrained_model(spec)
    assert tuple(model.state_dict()["speech_embeddings_to_local.weight"].shape) == (64, 32)
    hidden = torch.randn(2, 128)
    steps = model.patch_steps(2)
    logits = steps.start(hidden)
    while logits:
        logits = steps.next({channel: found.argmax(-1) for channel, found in logits.items()})
    with torch.no_grad():
        forced = model.patch_logits(hidden, steps.codes)
    kept = torch.arange(1025) != 1024
    assert torch.equal(forced[0][..., kept].argmax(-1), steps.codes[..., 0])
    model.save_pretrained(tmp_path)
    assert MiMoAudio.from_pretrained(tmp_path).spec == spec


def test_the_same_seed_gives_the_same_model() -> None:
    first, same, other = (small_model(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])
    assert 1e6 < sum(tensor.numel() for tensor in first.values()) < 3e6


def test_bad_lengths_of_prompts_are_refused(model: MiMoAudio) -> None:
    with pytest.raises(ModelError, match="2049 groups are beyond the context of 2048"):
        model.new_cache(1, 2049)
    with pytest.raises(ModelError, match="2049 groups are beyond the context of 2048"):
        model(ids_of(model, 2049).unsqueeze(0))
    with pytest.raises(ModelError, match="a cache of 5 positions holds 0, 6 more do not fit"):
        model.prefill(ids_of(model, 6).unsqueeze(0), None, model.new_cache(1, 5))
    with pytest.raises(ModelError, match="1 prompts for a cache of 2 rows"):
        model.prefill(ids_of(model, 6).unsqueeze(0), None, model.new_cache(2, 8))
    with pytest.raises(ModelError, match=r"row 0: length 0, wanted 1\.\.6 groups"):
        model.prefill(ids_of(model, 6).unsqueeze(0), [0], model.new_cache(1, 8))


def test_bad_ids_are_refused_at_the_door(model: MiMoAudio) -> None:
    ids = ids_of(model, 8).unsqueeze(0)
    frame = int((ids[0, 0] == model.special_tokens.empty).nonzero()[0])
    for ask in (model, lambda ids: model.prefill(ids, None, model.new_cache(1, 8))):
        with pytest.raises(ModelError, match="31 frames, wanted a positive multiple of 4; repeat"):
            ask(ids[..., :31])
        with pytest.raises(ModelError, match=r"wanted \[batch, 9, frames\]"):
            ask(ids[:, :5])
        spoiled = ids.clone()
        spoiled[0, 2, frame] = 1025
        with pytest.raises(ModelError, match=rf"frame {frame}, channel 1: code 1025, wanted 0\.\."):
            ask(spoiled)
        spoiled = ids.clone()
        spoiled[0, 0, 4] = 320
        with pytest.raises(ModelError, match=r"group 1: text id 320, wanted 0\.\.319"):
            ask(spoiled)


def test_special_tokens_come_from_a_mapping_the_tokenizer_or_the_configuration(
    model: MiMoAudio, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    assert MiMoAudio.from_pretrained(tmp_path).special_tokens == model.special_tokens
    mapping = {form: token_id + 1 for form, token_id in model.special_tokens.to_mapping().items()}
    moved = SpecialTokens.from_mapping(mapping)
    assert MiMoAudio.from_pretrained(tmp_path, mapping).special_tokens == moved
    added = [{"content": form, "id": token_id} for form, token_id in mapping.items()]
    tokenizer = {"model": {"vocab": {}}, "added_tokens": added}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert MiMoAudio.from_pretrained(tmp_path).special_tokens == moved


def test_missing_and_impossible_special_tokens_are_refused(
    model: MiMoAudio, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    mapping = model.special_tokens.to_mapping()
    del mapping["<|eot|>"]
    with pytest.raises(ModelError, match=r"without <\|eot\|>"):
        MiMoAudio.from_pretrained(tmp_path, mapping)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["audiomill"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"tokenizer\.json: not there"):
        MiMoAudio.from_pretrained(tmp_path)
    far = replace(small_special_tokens(), eot=320)
    with pytest.raises(ModelError, match=r"<\|eot\|> has id 320, the model's vocabulary ends at 3"):
        MiMoAudio.from_pretrained(tmp_path, far)
