"""How fast does the language model speak, against a loop without caches and one request at a time?

CPU, float32: a model of 100 M parameters with random weights (`model.medium_spec`) whose head makes
about half of the positions speech. The plain loop (`generation_peer.py`) answers one request of 128
groups; both must choose the same ids. Eight requests of unequal prompts, text and speech at random,
sampled as the published model samples TTS, are answered at once and one by one, prompts included.
The two sides take turns, and the median of their ratios counts.

Growth is seconds for a group of speech behind 256, 1024 and 4096 others over that behind 256, in
96 rounds, every other one backwards; the median of the rounds' ratios counts. `_explained` is what
attention alone explains: in each round the same attention calls, between readings of each layer's
weights, over keys and values that had time to leave the processor's memory, added to the seconds
behind 256. `_beyond` is a round's growth less what is explained in it: the median, between the
bounds of its 95 % interval. Nothing else grows where that holds 0.

Loading: a made float32 checkpoint of 2 GB, opened by a process that does nothing else; its peak
memory over what it had before, over the size of the weights.

GPU, bfloat16, where there is one: the released size with random weights; seconds spent, on text as
well, for each second of speech, of one request (`gpu_real_time_factor`) and of eight at once; and
the wait for the first patch and for the first sound, which the streaming decoder of the tokenizer
holds back until it has seen what comes after.

    python -m benchmarks.generation --json [--short] [--repeats 3]
"""

import argparse
import dataclasses
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.generation_gpu import measure_gpu
from benchmarks.generation_peer import plain_loop
from benchmarks.generation_requests import PROMPT_GROUPS, make_request, sampled
from benchmarks.machine import ROOT, memory_bytes, options, report, timed
from model import MiMoAudio, ModelSpec, medium_spec, untrained_model
from model.generate import Group, generate, generate_groups
from model.small import small_special_tokens, speaking_half


def measure_cpu(repeats: int, scale: float) -> dict[str, Any]:
    """Against the plain loop, eight at once, growth."""
    model = speaking_half(untrained_model(medium_spec()))
    figures = {"parameters_m": round(sum(part.numel() for part in model.parameters()) / 1e6)}
    figures |= against_plain_loop(model, repeats)
    figures |= eight_at_once(model, max(16, round(64 * scale)), repeats)
    return figures | growth(model, base=round(256 * scale), groups=max(6, round(96 * scale)))


def against_plain_loop(model: MiMoAudio, repeats: int) -> dict[str, Any]:
    """One request of 128 groups and 32 new ones."""
    one = make_request(model, PROMPT_GROUPS, 32, seed=0)
    ours, plain = generate(model, [one])[0].ids, plain_loop(model, one)
    times = [
        (timed(partial(generate, model, [one])), timed(partial(plain_loop, model, one)))
        for _ in range(repeats)
    ]
    ours_s, plain_s = (statistics.median(side) for side in zip(*times, strict=True))
    return {
        "speedup_over_plain_loop": round(statistics.median(p / o for o, p in times), 2),
        "positions_per_s": round(32 / ours_s, 2),
        "positions_per_s_plain_loop": round(32 / plain_s, 2),
        "ids_equal_to_plain_loop": bool(np.array_equal(ours, plain)),
        "spread": round(max(o for o, _ in times) / min(o for o, _ in times), 2),
    }


def eight_at_once(model: MiMoAudio, new: int, repeats: int) -> dict[str, Any]:
    """Eight requests in one call against eight calls."""
    requests = [
        sampled(make_request(model, groups, new, seed=groups))
        for groups in np.linspace(32, 64, 8).astype(int).tolist()
    ]
    found = generate(model, requests)
    alone = [generate(model, [request])[0] for request in requests]
    times = [
        (
            sum(timed(partial(generate, model, [each])) for each in requests),
            timed(partial(generate, model, requests)),
        )
        for _ in range(repeats)
    ]
    alone_s, together_s = (statistics.median(side) for side in zip(*times, strict=True))
    speech = np.stack([one.ids[0] for one in found]) == model.special_tokens.empty
    same = [np.array_equal(one.ids, other.ids) for one, other in zip(found, alone, strict=True)]
    return {
        "batch8_over_batch1": round(statistics.median(a / t for a, t in times), 2),
        "positions_per_s_batch8": round(8 * new / together_s, 2),
        "positions_per_s_batch1": round(8 * new / alone_s, 2),
        "batch8_share_of_speech": round(float(speech.mean()), 2),
        "batch8_ids_equal_to_batch1": round(statistics.mean(same), 2),
    }


def growth(model: MiMoAudio, base: int, groups: int) -> dict[str, Any]:
    """Seconds per group of speech behind longer and longer prompts."""
    runs: dict[int, Iterator[Group]] = {}
    for factor in (1, 4, 16):
        request = make_request(model, base * factor, groups + 1, seed=7)
        not_speech = frozenset(range(model.spec.vocab_size)) - {model.special_tokens.empty}
        request = dataclasses.replace(request, stop_ids=not_speech, min_new=groups + 1)
        runs[factor] = generate_groups(model, [request])
        next(runs[factor])  # with it, the prompt is read
    alike = {factor: keys_and_values(model.spec, base * factor) for factor in runs}
    spent: dict[int, list[float]] = {factor: [] for factor in runs}
    attending: dict[int, list[float]] = {factor: [] for factor in runs}
    for number in range(groups):
        for factor in sorted(runs, reverse=number % 2 == 1):
            spent[factor].append(timed(partial(next, runs[factor])))
            attending[factor].append(attention_seconds(model, *alike[factor]))
    figures: dict[str, Any] = {"growth_context_groups": base, "growth_rounds": groups}
    for factor, times in spent.items():
        figures[f"seconds_per_patch_{factor}x"] = round(statistics.median(times), 4)
    first, first_attention = np.array(spent[1]), np.array(attending[1])
    for factor in (4, 16):
        grown = np.array(spent[factor]) / first
        explained = 1 + (np.array(attending[factor]) - first_attention) / first
        figures[f"growth_{factor}x"] = round(float(np.median(grown)), 3)
        figures[f"growth_{factor}x_explained"] = round(float(np.median(explained)), 3)
        figures[f"growth_{factor}x_beyond"] = median_interval(grown - explained)
    return figures


def median_interval(values: npt.NDArray[np.float64]) -> list[float]:
    """Lower bound, median, upper bound; 95 %, by the ranks of a binomial around the half."""
    ordered = np.sort(values)
    reach = 1.96 * len(ordered) ** 0.5 / 2
    low = max(0, math.floor(len(ordered) / 2 - reach) - 1)
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + reach))
    return [round(float(value), 3) for value in (ordered[low], np.median(ordered), ordered[high])]


def keys_and_values(spec: ModelSpec, context: int) -> tuple[Tensor, Tensor]:
    """As the cache holds them for one request, `[layers, 1, heads, context, head width]`."""
    stack = spec.backbone
    shape = (stack.num_layers, 1, stack.num_kv_heads, context, stack.head_width)
    return torch.ones(shape), torch.ones(shape)


def attention_seconds(model: MiMoAudio, keys: Tensor, values: Tensor) -> float:
    """One position over the keys and values of a context, in all layers of the backbone.

    The weights of each layer are read before its attention, untimed, as the model reads them: calls
    in a row would find the processor's memory and its lookahead in a better state.
    """
    stack = model.spec.backbone
    query = torch.ones(1, keys.shape[2], stack.num_heads // stack.num_kv_heads, keys.shape[-1])
    spent = 0.0
    with torch.inference_mode():
        for layer, k, v in zip(model.model.layers, keys, values, strict=True):
            for weights in layer.parameters():
                weights.sum()
            spent += timed(partial(functional.scaled_dot_product_attention, query, k, v))
    return spent


def measure_loading(scale: float) -> dict[str, Any]:
    """Peak memory of a process that only opens a checkpoint."""
    spec = medium_spec()
    stack = dataclasses.replace(
        spec.backbone,
        width=1024,
        num_heads=16,
        num_layers=max(2, round(42 * scale)),
        ffn_width=3072,
    )
    spec = dataclasses.replace(spec, backbone=stack)
    with tempfile.TemporaryDirectory() as folder:
        model = MiMoAudio.without_storage(spec, small_special_tokens()).to_empty(device="cpu")
        size = sum(part.numel() * part.element_size() for part in model.parameters())
        with torch.no_grad():
            for part in model.parameters():
                part.fill_(0.01)
        model.save_pretrained(folder)
        del model
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.generation", "--only-load", folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    peak = json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    return {"load_peak_over_size": round(peak / size, 3), "load_gb": round(size / 1e9, 2)}


def load_and_report_memory(folder: Path) -> dict[str, Any]:
    before = memory_bytes("VmRSS")
    model = MiMoAudio.from_pretrained(folder)
    peak = memory_bytes("VmHWM")
    return {"peak_bytes": peak - before, "layers": model.spec.backbone.num_layers}


def main(argv: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--only-load", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.only_load is not None:
        print(json.dumps(load_and_report_memory(arguments.only_load)))
        return 0
    scale = 0.25 if arguments.short else 1.0
    figures = measure_loading(scale)
    figures |= measure_cpu(arguments.repeats, scale)
    figures |= measure_gpu(arguments.repeats, scale)
    report("generation", figures, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
