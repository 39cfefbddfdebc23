"""How fast does the language model speak, against a loop without caches and one request at a time?

CPU, float32: a model of 100 M parameters with random weights (`model.medium_spec`) whose head makes
about half of the positions speech; greedy. The plain loop runs `forward` over everything so far for
each group, and the patch decoder over all its steps so far for each step; both must choose the same
ids (`ids_equal_to_plain_loop`). Eight requests of unequal prompts are answered at once and one by
one, prompts included: all text, then all speech (`batch8_over_batch1` is of both together, as if
they took turns in step), and in a random mix of both, where a patch of few rows keeps the others
waiting (`_mixed`). Medians of alternating runs. Growth is seconds per group behind prompts of 4 and
16 times 256 groups over that behind 256; `_explained` is what the keys and values of attention add
to the weights that one step reads.

Loading: a made float32 checkpoint of 2 GB, opened by a process that does nothing else; its peak
memory over what it had before, over the size of the weights.

GPU, bfloat16, where there is one: the released size with random weights; seconds spent, on text as
well, for each second of speech, of one request (`gpu_real_time_factor`) and of eight at once.

    python -m benchmarks.generation --json [--short] [--repeats 3]
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import ROOT, machine
from model import MiMoAudio, ModelSpec, medium_spec, untrained_model
from model.generate import Request, generate, generate_groups
from model.sampling import GREEDY, Sampling
from model.small import small_special_tokens
from model.spec import read_config
from model.special_tokens import SpecialTokens

RELEASED = ROOT / "tests/parity/golden/released"
PROMPT_GROUPS = 128
FRAMES_PER_S = 25
SPEECH_SHARE_SCALE = 20.0
"""Of the head's row of `<|empty|>`: its logit then wins in about every second position."""


def measure_cpu(repeats: int, scale: float) -> dict[str, Any]:
    """Against the plain loop, eight at once, growth."""
    model = speak_half(untrained_model(medium_spec()))
    new = max(8, round(32 * scale))
    one = make_request(model, PROMPT_GROUPS, new, seed=0)
    ours, plain = generate(model, [one])[0].ids, plain_loop(model, one)
    empty = model.special_tokens.empty
    ours_s, plain_s = [], []
    for _ in range(repeats):
        ours_s.append(timed(partial(generate, model, [one])))
        plain_s.append(timed(partial(plain_loop, model, one)))
    spent, of_plain = statistics.median(ours_s), statistics.median(plain_s)
    figures = {
        "speedup_over_plain_loop": round(of_plain / spent, 2),
        "positions_per_s": round(new / spent, 2),
        "positions_per_s_plain_loop": round(new / of_plain, 2),
        "ids_equal_to_plain_loop": bool(np.array_equal(ours, plain)),
        "share_of_speech": round(float((ours[0] == empty).mean()), 2),
        "spread": round(max(ours_s) / min(ours_s), 2),
        "parameters_m": round(sum(part.numel() for part in model.parameters()) / 1e6),
    }
    return figures | eight_at_once(model, new, repeats) | growth(model, new, scale)


def eight_at_once(model: MiMoAudio, new: int, repeats: int) -> dict[str, Any]:
    """Eight requests in one call against eight calls."""
    empty = model.special_tokens.empty
    forbidden = {
        "text": frozenset({empty}),
        "speech": frozenset(range(model.spec.vocab_size)) - {empty},
        "mixed": frozenset[int](),
    }
    alone_s, together_s, figures = {}, {}, {}
    for name, ids in forbidden.items():
        requests = [
            dataclasses.replace(
                make_request(model, groups, new, seed=groups), stop_ids=ids, min_new=new
            )
            for groups in np.linspace(32, 64, 8).astype(int).tolist()
        ]
        alone, together = [], []
        for _ in range(repeats):
            alone.append(sum(timed(partial(generate, model, [each])) for each in requests))
            together.append(timed(partial(generate, model, requests)))
        alone_s[name], together_s[name] = statistics.median(alone), statistics.median(together)
        figures[f"batch8_over_batch1_{name}"] = round(alone_s[name] / together_s[name], 2)
        figures[f"positions_per_s_batch8_{name}"] = round(8 * new / together_s[name], 2)
    both = [sum(times[name] for name in ("text", "speech")) for times in (alone_s, together_s)]
    return {"batch8_over_batch1": round(both[0] / both[1], 2), **figures}


def plain_loop(model: MiMoAudio, request: Request) -> np.ndarray[Any, Any]:
    """Greedy generation from `forward` alone: nothing is kept from one position to the next."""
    spec, empty = model.spec, model.special_tokens.empty
    ids = torch.from_numpy(request.prompt)
    start = ids.shape[1]
    with torch.inference_mode():
        for _ in range(request.max_new or 0):
            output = model(ids.unsqueeze(0))
            text = output.text_logits[0, -1].argmax()
            codes_GC = torch.tensor(spec.empty_codes).expand(spec.group_size, -1)
            if int(text) == empty:
                codes_GC = plain_patch(model, output.hidden[:, -1])
            group = torch.cat([text.expand(1, spec.group_size), codes_GC.T])
            ids = torch.cat([ids, group], dim=1)
    return ids[:, start:].numpy()


def plain_patch(model: MiMoAudio, hidden_1D: Tensor) -> Tensor:
    """One greedy patch `[G, C]`; every step reads all steps before it anew."""
    spec = model.spec
    codes_GC = torch.zeros((spec.group_size, spec.num_channels), dtype=torch.int64)
    inputs = model.hidden_states_downcast(hidden_1D).unsqueeze(1)
    for step in range(spec.patch_steps):
        hidden = model.local_transformer(inputs)[:, -1]
        following = torch.zeros_like(hidden)
        for channel, delay in enumerate(spec.delays):
            if delay <= step < delay + spec.group_size:
                logits = model.local_transformer_lm_heads[channel](hidden)
                logits[:, spec.empty_codes[channel]] = float("-inf")
                token = logits.argmax(dim=-1)
                codes_GC[step - delay, channel] = token[0]
                following = following + model.speech_embeddings[channel](token)
        inputs = torch.cat([inputs, following.unsqueeze(1)], dim=1)
    return codes_GC


def growth(model: MiMoAudio, new: int, scale: float) -> dict[str, Any]:
    """Seconds per group behind longer and longer prompts."""
    base = 256 if scale == 1.0 else 64
    backbone = model.spec.backbone
    weights = sum(part.numel() for part in model.parameters())
    kept = 2 * backbone.num_layers * backbone.num_kv_heads * backbone.head_width
    per_group: dict[int, float] = {}
    figures: dict[str, Any] = {"growth_context_groups": base}
    for factor in (1, 4, 16):
        request = make_request(model, base * factor, new, seed=7)
        groups = generate_groups(model, [request])
        next(groups)  # with it, the prompt is read
        stamps = [time.perf_counter()]
        for _ in groups:
            stamps.append(time.perf_counter())
        per_group[factor] = statistics.median(np.diff(stamps).tolist())
        figures[f"seconds_per_group_{factor}x"] = round(per_group[factor], 4)
    for factor in (4, 16):
        explained = (weights + kept * base * factor) / (weights + kept * base)
        figures[f"growth_{factor}x"] = round(per_group[factor] / per_group[1], 3)
        figures[f"growth_{factor}x_explained"] = round(explained, 3)
    return figures


def measure_loading(scale: float) -> dict[str, Any]:
    """Peak memory of a process that only opens a checkpoint."""
    layers = max(2, round(42 * scale))
    spec = medium_spec()
    stack = dataclasses.replace(
        spec.backbone, width=1024, num_heads=16, head_width=64, num_layers=layers, ffn_width=3072
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
    # Not `ru_maxrss`: a process inherits that of the one which started it.
    peak = memory_bytes("VmHWM")
    return {"peak_bytes": peak - before, "layers": model.spec.backbone.num_layers}


def memory_bytes(field: str) -> int:
    """A field of Linux's account of this process: `VmRSS` now, `VmHWM` at its highest."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def measure_gpu(repeats: int, scale: float) -> dict[str, Any]:
    """The released size in bfloat16, speech sampled; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return {"gpu_real_time_factor": None}
    spec = ModelSpec.from_config(read_config(RELEASED / "lm-config.json"))
    special = SpecialTokens.from_mapping(
        json.loads((RELEASED / "special-token-ids.json").read_text())
    )
    model = MiMoAudio.without_storage(spec, special).to(torch.bfloat16).to_empty(device="cuda")
    random = torch.Generator("cuda").manual_seed(0)
    with torch.no_grad():
        for name, part in model.named_parameters():
            if part.ndim == 1:
                part.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                scale_of = 1.0 if "embed" in name else part.shape[1] ** -0.5
                part.normal_(0.0, scale_of, generator=random)
    speak_half(model).eval()
    new = max(16, round(125 * scale))
    figures: dict[str, Any] = {}
    for key, count in (("gpu_real_time_factor", 1), ("gpu_real_time_factor_batch8", 8)):
        requests = [
            dataclasses.replace(
                make_request(model, PROMPT_GROUPS, new, seed=seed),
                speech=(Sampling(temperature=0.9, top_p=0.95),),
            )
            for seed in range(count)
        ]
        speech_s = sum(seconds_of_speech(model, found.ids) for found in generate(model, requests))
        spent = statistics.median(timed(partial(generate, model, requests)) for _ in range(repeats))
        figures[key] = round(spent / speech_s, 4)
    return figures | {"gpu_peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 1)}


def speak_half(model: MiMoAudio) -> MiMoAudio:
    with torch.no_grad():
        model.lm_head.weight[model.special_tokens.empty] *= SPEECH_SHARE_SCALE
    return model


def seconds_of_speech(model: MiMoAudio, ids: np.ndarray[Any, Any]) -> float:
    return float((ids[0] == model.special_tokens.empty).sum()) / FRAMES_PER_S


def make_request(model: MiMoAudio, num_groups: int, new: int, seed: int) -> Request:
    """A prompt of text and speech by turns of five, as the model's own answers are."""
    spec, random = model.spec, np.random.default_rng(seed)
    is_audio = np.arange(num_groups) // 5 % 2 == 1
    frames = num_groups * spec.group_size
    rows = [np.repeat(np.where(is_audio, model.special_tokens.empty, 65), spec.group_size)]
    for empty in spec.empty_codes:
        codes = random.integers(0, empty, frames)
        rows.append(np.where(is_audio.repeat(spec.group_size), codes, empty))
    return Request(
        prompt=np.stack(rows).astype(np.int64), text=GREEDY, speech=(GREEDY,), max_new=new
    )


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    parser.add_argument("--short", action="store_true", help="a quarter of the work")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only-load", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.only_load is not None:
        print(json.dumps(load_and_report_memory(arguments.only_load)))
        return 0
    scale = 0.25 if arguments.short else 1.0
    figures = measure_loading(scale)
    figures |= measure_cpu(arguments.repeats, scale)
    figures |= measure_gpu(arguments.repeats, scale)
    report = {"benchmark": "generation", **figures, "threads": torch.get_num_threads()}
    report |= {"short": arguments.short, **machine()}
    if not arguments.json:
        for key, value in report.items():
            print(f"{key:32} {value}")
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
