"""The part of `benchmarks.generation` that needs a GPU: the released size with random weights."""

import dataclasses
import statistics
import time
from functools import partial
from typing import Any

import torch

from benchmarks.generation_requests import PROMPT_GROUPS, make_request, sampled
from benchmarks.machine import ROOT, timed
from benchmarks.tokenizer import released_on_gpu
from model import MiMoAudio, ModelSpec
from model.generate import generate, generate_groups
from model.layout import TextPiece
from model.small import small_special_tokens, speaking_half
from model.speak import speak
from model.tasks import Tasks
from model.text import TextTokenizer
from tokenizer import Tokenizer

CONFIG = ROOT / "tests/parity/golden/released/lm-config.json"
FRAMES_PER_S = 25


def measure_gpu(repeats: int, scale: float) -> dict[str, Any]:
    """The released size in bfloat16, sampled; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return {"gpu_real_time_factor": None, "gpu_first_audio_ms": None}
    model = released(torch.device("cuda"))
    new = max(16, round(125 * scale))
    figures: dict[str, Any] = {}
    for key, count in (("gpu_real_time_factor", 1), ("gpu_real_time_factor_batch8", 8)):
        requests = [
            sampled(make_request(model, PROMPT_GROUPS, new, seed=seed)) for seed in range(count)
        ]
        found = generate(model, requests)
        frames = sum(int((one.ids[0] == model.special_tokens.empty).sum()) for one in found)
        spent = statistics.median(timed(partial(generate, model, requests)) for _ in range(repeats))
        figures[key] = round(spent / (frames / FRAMES_PER_S), 4)
    tokenizer = released_on_gpu()
    # The first one finds the kernels; that is no request's wait.
    waits = [first_patch_and_sound(model, tokenizer, seed) for seed in range(repeats + 1)][1:]
    patch_s, sound_s = (statistics.median(side) for side in zip(*waits, strict=True))
    figures |= {
        "gpu_first_patch_ms": round(1e3 * patch_s, 1),
        "gpu_first_audio_ms": round(1e3 * sound_s, 1),
    }
    return figures | {"gpu_peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 1)}


def first_patch_and_sound(model: MiMoAudio, tokenizer: Tokenizer, seed: int) -> tuple[float, float]:
    """Seconds from asking to the first codes, and to the first samples that can be played."""
    tasks = Tasks(TextTokenizer.of_bytes(), empty_codes=model.spec.empty_codes)
    request = sampled(make_request(model, PROMPT_GROUPS, 512, seed=seed))
    opening = tasks.layout.lay([TextPiece(token_ids=(model.special_tokens.sostm,))])
    request = dataclasses.replace(request, prompt=tasks.layout.join([request.prompt, opening]))
    started, first_patch_s = time.perf_counter(), 0.0
    for said in speak(generate_groups(model, [request]), [request], tasks, tokenizer):
        if said.codes is not None and not first_patch_s:
            first_patch_s = time.perf_counter() - started
        if said.waveform is not None:
            break
    return first_patch_s, time.perf_counter() - started


def released(device: torch.device) -> MiMoAudio:
    """The released size in bfloat16 with random weights, drawn on the device."""
    spec = ModelSpec.read(CONFIG)
    model = MiMoAudio.without_storage(spec, small_special_tokens())
    model = model.to(torch.bfloat16).to_empty(device=device)
    random = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, part in model.named_parameters():
            if part.ndim == 1:
                part.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                scale = 1.0 if "embed" in name else part.shape[1] ** -0.5
                part.normal_(0.0, scale, generator=random)
    return speaking_half(model).eval()
