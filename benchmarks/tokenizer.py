"""How fast are codes made, against one file at a time, and how near to the hardware's rate?

CPU, float32: an encoder of 27 M parameters (width 512, 8 layers, 20 codebooks, random weights) on
seeded mixes of clips, 100 of 1-30 s and 300 of 0.5-3 s. The peer (`tokenizer_peer.py`) takes the
same weights one file at a time through all 20 codebooks; runs alternate, medians are compared. The
share of peak is multiplications and additions per second over what a 2048-cubed float32 product
does in the same run, by whichever of torch's two libraries (MKL, oneDNN) is the faster one there:
oneDNN is more than twice as fast on an EPYC with AVX-512. `cpu_share_of_matmul` is over
`torch.matmul`, which the peer uses. Growth is time per audio second at 100 times the clips over
that at once.

GPU, bfloat16, where there is one: the released size with random weights, 30-s clips, from waveforms
in host memory to codes in host memory; the peak is an 8192-cubed bfloat16 product.

    python -m benchmarks.tokenizer --json [--short] [--repeats 3]
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import ROOT, memory_bytes, options, report, timed
from benchmarks.tokenizer_peer import OneByOne, fill
from tokenizer import Tokenizer
from tokenizer.linear import RowProduct
from tokenizer.model import TokenizerModel
from tokenizer.small import small_spec
from tokenizer.spec import StackSpec, TokenizerSpec

RELEASED = Path("tests/parity/golden/released/tokenizer-config.json")


def measure_cpu(repeats: int, scale: float) -> dict[str, Any]:
    """Both mixes against the peer, share of the matrix rate, growth."""
    model = TokenizerModel(cpu_spec())
    fill(model, seed=0)
    tokenizer, peer = Tokenizer(model, trained=False), OneByOne(model)
    figures: dict[str, Any] = {}
    rates, matmul_rates = [best_cpu_rate()], [matrix_rate(2048, torch.float32, "cpu")]
    ours_rate = []
    for key, count, shortest_s, longest_s in (
        ("cpu_speedup", 100, 1.0, 30.0),
        ("cpu_speedup_short", 300, 0.5, 3.0),
    ):
        clips = make_clips(max(2, round(count * scale)), shortest_s, longest_s, seed=1)
        audio_s = seconds(clips, tokenizer)
        codes = tokenizer.encode(clips)
        same = [
            float((mine == peer(clip)[:, :8]).float().mean())
            for mine, clip in zip(codes[:5], clips, strict=False)
        ]
        ours_s, peer_s = [], []
        for _ in range(repeats):
            ours_s.append(timed(partial(tokenizer.encode, clips)))
            rates.append(best_cpu_rate())
            matmul_rates.append(matrix_rate(2048, torch.float32, "cpu"))
            peer_s.append(timed(partial(peer.all, clips)))
        ours, theirs = statistics.median(ours_s), statistics.median(peer_s)
        work = sum(encoder_flop(tokenizer.spec, clip.shape[0], 8) for clip in clips)
        ours_rate.append(work / ours)
        figures |= {
            key: round(theirs / ours, 3),
            f"{key}_x_real_time": round(audio_s / ours, 1),
            f"{key}_peer_x_real_time": round(audio_s / theirs, 1),
            f"{key}_spread": round(max(ours_s) / min(ours_s), 2),
            f"{key}_codes_equal_to_peer": round(statistics.mean(same), 4),
        }
    matmul = statistics.median(matmul_rates)
    figures["cpu_matrix_gflops"] = round(statistics.median(rates) / 1e9, 1)
    figures["cpu_matmul_gflops"] = round(matmul / 1e9, 1)
    figures["cpu_share_of_matmul"] = round(ours_rate[0] / matmul, 3)
    figures["cpu_share_of_peak"] = round(ours_rate[0] / statistics.median(rates), 3)
    figures["cpu_share_of_peak_short"] = round(ours_rate[1] / statistics.median(rates), 3)
    return figures | growth(tokenizer, repeats, scale)


def growth(tokenizer: Tokenizer, repeats: int, scale: float) -> dict[str, Any]:
    """Time per audio second with 1, 10 and 100 times four clips of the long mix."""
    base = make_clips(4, 1.0, 30.0, seed=2)
    per_second = {}
    for factor in (1, 10, 100 if scale == 1.0 else 20):
        clips = base * factor
        tries = repeats if factor < 50 else 1  # a minute of work is steady by itself
        times = [timed(partial(tokenizer.encode, clips)) for _ in range(tries)]
        per_second[factor] = statistics.median(times) / seconds(clips, tokenizer)
    first, middle, last = per_second.values()
    return {
        "growth_10x": round(middle / first, 3),
        "growth_100x": round(last / first, 3),
        "growth_factors": list(per_second),
    }


def measure_memory(scale: float) -> dict[str, Any]:
    """Peak memory of a process that only encodes the long mix."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tokenizer", "--only-memory", str(scale)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def encode_and_report_memory(scale: float) -> dict[str, Any]:
    model = TokenizerModel(cpu_spec())
    fill(model, seed=0)
    tokenizer = Tokenizer(model, trained=False)
    clips = make_clips(max(2, round(100 * scale)), 1.0, 30.0, seed=1)
    before = memory_bytes("VmHWM")
    tokenizer.encode(clips)
    peak = memory_bytes("VmHWM")
    return {
        "cpu_peak_mb": round(peak / 2**20),
        "cpu_peak_mb_before_encoding": round(before / 2**20),
    }


def measure_gpu(repeats: int, scale: float) -> dict[str, Any]:
    """The released size in bfloat16, host to host; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return {"gpu_audio_hours_per_hour": None, "gpu_share_of_peak": None}
    tokenizer = released_on_gpu()
    spec = tokenizer.spec
    clips = make_clips(max(8, round(960 * scale)), 30.0, 30.0, seed=3)
    rate = matrix_rate(8192, torch.bfloat16, "cuda")
    tokenizer.encode(clips[: max(4, len(clips) // 4)])
    torch.cuda.reset_peak_memory_stats()
    times = [timed(partial(tokenizer.encode, clips)) for _ in range(repeats)]
    spent = statistics.median(times)
    work = sum(encoder_flop(spec, clip.shape[0], 8) for clip in clips)
    return {
        "gpu_audio_hours_per_hour": round(seconds(clips, tokenizer) / spent, 1),
        "gpu_share_of_peak": round(work / spent / rate, 3),
        "gpu_matrix_tflops": round(rate / 1e12, 1),
        "gpu_gflop_per_audio_second": round(work / seconds(clips, tokenizer) / 1e9, 2),
        "gpu_peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 1),
        "gpu_audio_s": round(seconds(clips, tokenizer)),
    }


def released_on_gpu() -> Tokenizer:
    """The released size in bfloat16 with random weights; codebooks in float32."""
    spec = TokenizerSpec.read(ROOT / RELEASED)
    model = TokenizerModel(spec)
    kept = {id(book) for book in model.encoder.quantizer.codebooks}
    for module in model.modules():
        if id(module) not in kept:
            for name, parameter in module.named_parameters(recurse=False):
                empty = torch.empty_like(parameter, device="cuda", dtype=torch.bfloat16)
                setattr(module, name, torch.nn.Parameter(empty, requires_grad=False))
    model.cuda()
    fill(model, seed=0)
    return Tokenizer(model, trained=False, weights_sha256="random")


def cpu_spec() -> TokenizerSpec:
    """An encoder of about 27 M parameters with the released codebooks; a decoder that idles."""
    stack = StackSpec(width=512, num_layers=8, num_heads=8, ffn_width=2048, window=(-1, -1))
    return dataclasses.replace(
        small_spec(),
        encoder=stack,
        skip_layer=3,
        codebook_sizes=(1024, 1024, *[128] * 18),
        decoder=dataclasses.replace(stack, num_layers=1, window=(-1, 0)),
    )


def make_clips(count: int, shortest_s: float, longest_s: float, seed: int) -> list[Tensor]:
    """Noise under slow envelopes; lengths drawn evenly, in random order."""
    random = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        num_samples = int(24_000 * random.uniform(shortest_s, longest_s))
        envelope = 1.0 + np.sin(np.arange(num_samples) * random.uniform(1e-4, 1e-3))
        noise = random.standard_normal(num_samples, dtype=np.float32)
        clips.append(torch.from_numpy((0.1 * noise * envelope).astype(np.float32)))
    return clips


def seconds(clips: Sequence[Tensor], tokenizer: Tokenizer) -> float:
    return sum(clip.shape[0] for clip in clips) / tokenizer.sample_rate_hz


def encoder_flop(spec: TokenizerSpec, num_samples: int, num_codebooks: int) -> float:
    """Multiplications and additions that the encoder needs for one clip of at most a segment."""
    hops = spec.num_hops(num_samples)
    rows, frames, width = spec.num_stem_rows(hops), spec.num_frames(hops), spec.width
    stack = spec.encoder
    products = (
        hops * 3 * spec.num_mels * width
        + rows * 3 * width * width
        + rows * stack.num_layers * (4 * width * width + 2 * width * stack.ffn_width)
        + stack.num_layers * 2 * rows * rows * width
        + frames * spec.pool * width * width
        + frames * width * sum(spec.codebook_sizes[:num_codebooks])
    )
    return 2.0 * products


def matrix_rate(size: int, dtype: torch.dtype, device: str) -> float:
    """Operations per second of a plain square product, the best of some."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = [timed(partial(torch.matmul, left, right)) for _ in range(8)]
    return 2.0 * size**3 / min(times[2:])


def best_cpu_rate(size: int = 2048) -> float:
    """The same of whichever float32 product is faster here: torch's own, or oneDNN's."""
    product, weight = RowProduct(), torch.randn(size, size)
    rows = torch.randn(size, size)
    with torch.inference_mode():
        times = [timed(partial(product, rows, weight)) for _ in range(8)]
    return max(matrix_rate(size, torch.float32, "cpu"), 2.0 * size**3 / min(times[2:]))


def main(argv: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--only-memory", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.only_memory is not None:
        print(json.dumps(encode_and_report_memory(arguments.only_memory)))
        return 0
    scale = 0.1 if arguments.short else 1.0
    figures = measure_memory(scale)
    figures |= measure_cpu(arguments.repeats, scale)
    figures |= measure_gpu(arguments.repeats, scale)
    report("tokenizer", figures, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
