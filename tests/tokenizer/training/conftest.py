"""A run that fits into a test: a tiny network, synthetic syllables with made-up transcripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.codes import Waveform
from tokenizer.training.clips import ClipStore, ClipWriter
from tokenizer.training.spec import TrainSpec

RATE_HZ = 24_000
NUM_CLIPS = 24


def syllables(seed: int, seconds: float = 1.2) -> Waveform:
    """Gliding harmonics in bursts over a little noise: like speech, only simpler."""
    random = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    sound = 0.002 * random.standard_normal(time_s.size)
    for first_s in np.arange(0.0, seconds, 0.25):
        pitch_hz = random.uniform(90, 300)
        burst = np.exp(-(((time_s - first_s - 0.12) / 0.06) ** 2))
        formant = random.integers(2, 12)
        for harmonic in range(1, 16):
            level = np.exp(-(((harmonic - formant) / 3) ** 2)) + 0.2 / harmonic
            sound += 0.08 * level * burst * np.sin(2 * np.pi * harmonic * pitch_hz * time_s)
    clipped: Waveform = np.clip(sound, -0.9, 0.9).astype(np.float32)
    return clipped


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    folder = tmp_path_factory.mktemp("training") / "clips"
    with ClipWriter(folder, RATE_HZ, silence_dbfs=-60.0, min_s=0.5) as writer:
        for number in range(NUM_CLIPS):
            writer.add(f"clip-{number}", syllables(number), f"ba da {number}")
    return ClipStore(folder)


TINY_MODEL: dict[str, Any] = {
    "sampling_rate": RATE_HZ,
    "nfft": 960,
    "window_size": 960,
    "hop_length": 240,
    "n_mels": 64,
    "fmin": 0,
    "fmax": None,
    "kernel_size": 3,
    "stride_size": 2,
    "avg_pooler": 2,
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_skip_layer_id": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "encoder_causal": False,
    "encoder_attn_window_size": [-1, -1],
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 64,
    "decoder_causal": True,
    "decoder_attn_window_size": [-1, -1],
    "decoder_kernel_size": 3,
    "decoder_stride_size": 2,
    "vocoder_dim": 32,
    "vocoder_num_layers": 1,
    "vocoder_attention_heads": 2,
    "vocoder_intermediate_dim": 64,
    "vocoder_attn_window_size": [40, 10],
    "vocoder_padding": "same",
    "num_quantizers": 3,
    "codebook_size": [32, 32, 16],
    "threshold_ema_dead_code": 0.2,
    "activation_function": "gelu",
    "ln_type": "LayerNorm",
    "rope_theta": 10000,
    "rope_type": "default",
}

MakeSpec = Callable[..., TrainSpec]


@pytest.fixture
def make_spec(tmp_path: Path) -> MakeSpec:
    """Specs of a tiny run into this test's folder; `changes` are dotted keys."""

    def make(changes: dict[str, Any] | None = None) -> TrainSpec:
        raw: dict[str, Any] = {
            "name": "tiny",
            "model": dict(TINY_MODEL),
            "data": {"uri": "unused", "max_clip_s": 1.2, "held_out": 2, "augment": None},
            "output": str(tmp_path / "run"),
            "clips_per_step": 4,
            "ema_decay": 0.9,
            "stage1": {
                "steps": 6,
                "optimizer": {"learning_rate": 2e-3, "warmup_steps": 2},
                "codebooks": {"frames_per_entry": 4.0},
                "text": {"width": 32, "num_layers": 1, "num_heads": 2},
            },
            "stage2": {
                "steps": 4,
                "optimizer": {"learning_rate": 1e-3, "warmup_steps": 0},
                "discriminator_optimizer": {"learning_rate": 1e-3, "warmup_steps": 0},
                "discriminators": {"periods": [2, 3], "fft_sizes": [256], "channels": 2},
                "judged_s": 0.4,
            },
            "run": {"loader_workers": 0, "log_every": 2, "checkpoint_every": 3, "sample_every": 5},
        }
        for path, value in (changes or {}).items():
            *keys, last = path.split(".")
            here = raw
            for key in keys:
                here = here[key]
            here[last] = value
        return TrainSpec.model_validate(raw)

    return make
