"""Models of every shape that a configuration can ask for: saved, opened, and generating."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model import MiMoAudio, ModelSpec, untrained_model
from model.generate import Request, generate
from model.sampling import GREEDY
from model.small import small_special_tokens, speaking_half, tiny_spec
from model.special_tokens import SpecialTokens
from tests.model.make_ids import make_ids

TINY = tiny_spec()


def variant(**changes: Any) -> ModelSpec:
    """`part__field` changes a field of a part."""
    new: dict[str, Any] = {}
    for name, value in changes.items():
        part, _, field = name.partition("__")
        of_part = new.get(part, getattr(TINY, part))
        new[part] = replace(of_part, **{field: value}) if field else value
    return replace(TINY, **new)


VARIANTS = {
    "as released": TINY,
    "groups of 2": variant(group_size=2),
    "groups of 3": variant(group_size=3),
    "single frames": variant(group_size=1),
    "three channels": variant(
        channel_sizes=(40, 20, 30), empty_codes=(39, 19, 29), delays=(0, 1, 2)
    ),
    "one channel": variant(channel_sizes=(33,), empty_codes=(32,), delays=(0,)),
    "no delays": variant(delays=(0,) * 8),
    "delays with a gap": variant(
        group_size=2, channel_sizes=(40, 20), empty_codes=(39, 19), delays=(1, 6)
    ),
    "delays out of order": variant(delays=(3, 0, 7, 1, 2, 2, 0, 5)),
    "ids behind the empty code": variant(channel_sizes=(1040,) * 8, empty_codes=(1024,) * 8),
    "wide encoder": variant(
        patch_encoder__width=48, patch_encoder__head_width=24, patch_encoder__ffn_width=192
    ),
    "causal encoder": variant(patch_encoder__causal=True),
    "wide heads": variant(backbone__head_width=40),
    "as many keys as heads": variant(backbone__num_kv_heads=2),
    "four heads a key": variant(backbone__num_heads=4, backbone__head_width=16),
    "other numbers": variant(rope_theta=10_000.0, norm_eps=1e-5, vocab_size=300),
}


def plain_patch(model: MiMoAudio, hidden_1D: Tensor) -> Tensor:
    """The likeliest codes `[G, C]`: each from a pass over all that were chosen before it."""
    spec = model.spec
    codes_1GC = torch.zeros((1, spec.group_size, spec.num_channels), dtype=torch.int64)
    for step in range(spec.patch_steps):
        logits = model.patch_logits(hidden_1D, codes_1GC)
        for channel, delay in enumerate(spec.delays):
            if delay <= step < delay + spec.group_size:
                found_V = logits[channel][0, step - delay]
                found_V[spec.empty_codes[channel]] = float("-inf")
                codes_1GC[0, step - delay, channel] = found_V.argmax()
    return codes_1GC[0]


@torch.no_grad()
def plain_answer(model: MiMoAudio, ids: Tensor, num_groups: int) -> Tensor:
    """Greedy groups, each from a pass over everything before it."""
    spec, start = model.spec, ids.shape[1]
    for _ in range(num_groups):
        output = model(ids.unsqueeze(0))
        text = output.text_logits[0, -1].argmax()
        codes_GC = torch.tensor(spec.empty_codes).expand(spec.group_size, -1)
        if int(text) == model.special_tokens.empty:
            codes_GC = plain_patch(model, output.hidden[:, -1])
        ids = torch.cat([ids, torch.cat([text.expand(1, spec.group_size), codes_GC.T])], dim=1)
    return ids[:, start:]


@pytest.mark.parametrize("name", VARIANTS)
def test_saved_opened_and_answering_as_without_caches(name: str, tmp_path: Path) -> None:
    made = speaking_half(untrained_model(VARIANTS[name], seed=3))
    made.save_pretrained(tmp_path, shard_bytes=500_000)
    model = MiMoAudio.from_pretrained(tmp_path)
    assert model.spec == made.spec
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert all(
        torch.equal(tensor, made.state_dict()[key]) for key, tensor in model.state_dict().items()
    )
    prompts = [make_ids(model.spec, model.special_tokens, 5 + 4 * seed, seed) for seed in (1, 2)]
    with torch.no_grad():
        assert model(prompts[0].unsqueeze(0)).text_logits.shape == (1, 9, model.spec.vocab_size)
    requests = [
        Request(prompt=ids.numpy(), text=GREEDY, speech=(GREEDY,), max_new=6) for ids in prompts
    ]
    spoken = 0
    for found, ids in zip(generate(model, requests), prompts, strict=True):
        assert np.array_equal(found.ids, plain_answer(model, ids, 6).numpy())
        spoken += int((found.ids[0] == model.special_tokens.empty).sum())
    assert spoken > 0


def test_special_ids_may_lie_anywhere() -> None:
    usual = small_special_tokens()
    mapping = usual.to_mapping()
    turned = SpecialTokens.from_mapping(dict(zip(mapping, reversed(mapping.values()), strict=True)))
    ids = make_ids(TINY, turned, 9)
    with torch.no_grad():
        found = untrained_model(TINY, special_tokens=turned)(ids.unsqueeze(0))
        ids[0, ids[0] == turned.empty] = usual.empty
        wanted = untrained_model(TINY)(ids.unsqueeze(0))
    torch.testing.assert_close(found.text_logits, wanted.text_logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_kept_and_generate(dtype: torch.dtype, tmp_path: Path) -> None:
    made = untrained_model(TINY).to(dtype)
    made.save_pretrained(tmp_path)
    model = MiMoAudio.from_pretrained(tmp_path)
    assert {part.dtype for part in model.parameters()} == {dtype}
    ids = make_ids(TINY, model.special_tokens, 9)
    with torch.no_grad():
        output = model(ids.unsqueeze(0))
        wanted = untrained_model(TINY).to(torch.float64)(ids.unsqueeze(0))
    assert (output.text_logits.dtype, output.hidden.dtype) == (dtype, dtype)
    near = torch.cosine_similarity(output.hidden.double(), wanted.hidden, dim=-1)
    assert float(near.min()) > 0.995
    request = Request(prompt=ids.numpy(), text=GREEDY, speech=(GREEDY,), max_new=3)
    assert generate(model, [request])[0].ids.shape == (9, 12)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_answers_as_the_cpu_does(dtype: torch.dtype) -> None:
    model = speaking_half(untrained_model(TINY, seed=3)).to(dtype)
    prompts = [make_ids(TINY, model.special_tokens, groups, groups) for groups in (5, 70, 9)]
    requests = [
        Request(prompt=ids.numpy(), text=GREEDY, speech=(GREEDY,), max_new=new)
        for ids, new in zip(prompts, (8, 3, 12), strict=True)
    ]
    with torch.no_grad():
        wanted = model(prompts[1].unsqueeze(0)).hidden
        here = generate(model, requests)
        model.cuda()
        found = model(prompts[1].unsqueeze(0).cuda()).hidden.cpu()
        there = generate(model, requests)
    near = torch.cosine_similarity(found.double(), wanted.double(), dim=-1)
    assert float(near.min()) > (0.999999 if dtype == torch.float32 else 0.99)
    for one, other in zip(here, there, strict=True):
        assert one.ids.shape == other.ids.shape
        # In half precision the likeliest id is soon another one.
        assert dtype == torch.bfloat16 or np.array_equal(one.ids, other.ids)
