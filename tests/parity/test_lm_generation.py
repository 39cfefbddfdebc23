"""Greedy generation of text and speech equals the published model's: by a plain loop, and by ours.

The filters of the sampler equal the published ones.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model import MiMoAudio, pad_prompts
from model.generate import Request, generate
from model.sampling import GREEDY, Sampler, Sampling

GOLDEN = Path(__file__).parent / "golden" / "lm-tiny"
META: dict[str, Any] = json.loads((GOLDEN / "meta.json").read_text())


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "vectors.safetensors")


@pytest.fixture(scope="module")
def model() -> MiMoAudio:
    return MiMoAudio.from_pretrained(GOLDEN, META["special_tokens"])


def greedy_patch(model: MiMoAudio, hidden_BD: Tensor) -> Tensor:
    steps = model.patch_steps(hidden_BD.shape[0])
    logits = steps.start(hidden_BD)
    while logits:
        logits = steps.next({channel: found.argmax(-1) for channel, found in logits.items()})
    return steps.codes


def greedy(
    model: MiMoAudio, prompts: list[Tensor], num_groups: int, *, forbidden: tuple[int, int] = (0, 0)
) -> Tensor:
    """New groups `[B, groups, 1 + G*C]`: a text id and its patch each; no stop but the count.

    `forbidden` is a text id and the number of first groups in which it may not be chosen.
    """
    input_ids, lengths = pad_prompts(prompts, model.spec)
    cache = model.new_cache(len(prompts), max(lengths) + num_groups)
    logits, hidden = model.prefill(input_ids, lengths, cache)
    empty_codes = torch.tensor(model.spec.empty_codes)
    groups = []
    for number in range(num_groups):
        if number < forbidden[1]:
            logits[:, forbidden[0]] = float("-inf")
        text_B = logits.argmax(-1)
        is_audio = (text_B == model.special_tokens.empty)[:, None, None]
        codes = torch.where(is_audio, greedy_patch(model, hidden), empty_codes)
        groups.append(torch.cat([text_B[:, None], codes.flatten(1)], dim=1))
        logits, hidden = model.step(text_B, codes, cache)
    return torch.stack(groups, dim=1)


def as_groups(flat: Tensor) -> Tensor:
    """`[1 + C, groups*G]` as `[groups, 1 + G*C]`."""
    codes = flat[1:].unflatten(1, (-1, 4)).permute(1, 2, 0).flatten(1)
    return torch.cat([flat[0, ::4, None], codes], dim=1).long()


def test_greedy_patch(model: MiMoAudio, golden: dict[str, Tensor]) -> None:
    hidden = golden["seq/hidden"][:, int(golden["local/position"]) - 1]
    assert torch.equal(greedy_patch(model, hidden)[0], golden["local/greedy_tokens"].long())


def test_free_run(model: MiMoAudio, golden: dict[str, Tensor]) -> None:
    found = greedy(model, [golden["gen/prompt_ids"]], 40)
    assert torch.equal(found[0], as_groups(golden["gen/free_run"]))


def test_run_with_a_forbidden_stop_id(model: MiMoAudio, golden: dict[str, Tensor]) -> None:
    wanted = as_groups(golden["gen/minlen_run"])
    found = greedy(
        model, [golden["gen/prompt_ids"]], len(wanted), forbidden=(META["stop_token"], 20)
    )
    assert torch.equal(found[0], wanted)


def test_without_a_cache(model: MiMoAudio, golden: dict[str, Tensor]) -> None:
    """Every group from a forward over everything so far."""
    ids = golden["gen/prompt_ids"].long()
    empty_codes = torch.tensor(model.spec.empty_codes)
    with torch.no_grad():
        for _ in range(12):
            output = model(ids.unsqueeze(0))
            text = output.text_logits[:, -1].argmax(-1)
            codes = empty_codes.expand(4, -1)
            if int(text) == model.special_tokens.empty:
                codes = greedy_patch(model, output.hidden[:, -1])[0]
            ids = torch.cat([ids, torch.cat([text.expand(1, 4), codes.T])], dim=1)
    assert torch.equal(ids[:, -48:], golden["gen/free_run"][:, :48].long())


def test_in_the_company_of_other_prompts(model: MiMoAudio, golden: dict[str, Tensor]) -> None:
    whole = golden["gen/prompt_ids"]
    prompts = [whole[:, :80], whole, whole[:, :4]]
    found = greedy(model, prompts, 12)
    assert torch.equal(found[1], as_groups(golden["gen/free_run"])[:12])
    for row, prompt in enumerate(prompts):
        assert torch.equal(found[row], greedy(model, [prompt], 12)[0])


@pytest.mark.parametrize("run", META["gen_runs"])
def test_runs_with_stop_rules(model: MiMoAudio, golden: dict[str, Tensor], run: str) -> None:
    settings = META["gen_runs"][run]
    request = Request(
        prompt=golden["gen/prompt_ids"].long().numpy(),
        text=GREEDY,
        speech=(GREEDY,),
        stop_ids=frozenset(settings["stop_tokens"]),
        min_new=settings.get("min_new_groups", 0),
        max_new=settings.get("max_new_groups", settings.get("new_groups")),
    )
    (found,) = generate(model, [request])
    assert torch.equal(torch.from_numpy(found.ids), golden[f"gen/{run}"].long())
    stopped = int(found.ids[0, -1]) in settings["stop_tokens"]
    assert found.finish == ("stop" if stopped else "length")


@pytest.mark.parametrize("number", range(len(META["sampler_combos"])))
def test_filters_of_the_sampler(golden: dict[str, Tensor], number: int) -> None:
    settings = META["sampler_combos"][number]
    sampling = Sampling(
        temperature=settings["temperature"] or 1.0,
        top_k=settings["top_k"] or None,
        top_p=settings["top_p"] or None,
    )
    wanted = golden[f"sampler/processed{number}"]
    found = Sampler([sampling], torch.device("cpu")).filtered(golden["sampler/scores"])
    assert torch.equal(found.isinf(), wanted.isinf())
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
