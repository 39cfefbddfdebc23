"""A small tokenizer without training: the right shapes, and codes that follow the audio.

For tests, demonstrations and machines without a checkpoint. Its weights are random numbers of a
seed. Its codebooks are fitted to what its encoder makes of synthetic sounds, so that different
audio gets different codes; nobody should read more into them, nor listen to what it decodes. It
says `trained=False` in its fingerprint and its description.
"""

# Shapes: S samples, N rows, D width, V entries.

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tokenizer.codec import Tokenizer
from tokenizer.mel import LogMel
from tokenizer.model import TokenizerModel
from tokenizer.spec import StackSpec, TokenizerSpec

_NUM_SOUNDS = 12
_SOUND_S = 4.0
_NUM_EXEMPLARS = 700
"""Frames that the first codebook takes as they are; the others show what is left over."""
_CENTRAL_LOG_MEL = -6.0  # about what speech has; taken off in the first convolution
_GRID = 2.0**-12
"""Fitting runs in float64 and ends on this grid, so that machines whose last bits differ agree."""

Array = npt.NDArray[np.float64]


def small_spec() -> TokenizerSpec:
    """About 6 M parameters at 25 Hz with the eight codebooks that the language model reads."""
    return TokenizerSpec(
        sample_rate_hz=24_000,
        fft_samples=960,
        window_samples=960,
        hop_samples=240,
        num_mels=128,
        min_hz=0.0,
        max_hz=12_000.0,
        stem_stride=2,
        pool=2,
        encoder=StackSpec(width=256, num_layers=3, num_heads=4, ffn_width=512, window=(-1, -1)),
        skip_layer=2,
        codebook_sizes=(1024, 1024, 128, 128, 128, 128, 128, 128),
        dead_code_threshold=2.0,
        decoder=StackSpec(width=256, num_layers=3, num_heads=4, ffn_width=1024, window=(-1, 0)),
        upsample_kernel=3,
        vocoder=StackSpec(width=128, num_layers=2, num_heads=8, ffn_width=384, window=(40, 10)),
        vocoder_padding="same",
        norm="LayerNorm",
        rope_theta=10_000.0,
    )


def small_tokenizer(seed: int = 0) -> Tokenizer:
    """An untrained tokenizer on the CPU; the same seed gives the same bits."""
    # numpy's generator is scalar code, equal on every machine; torch's depends on vector width.
    random = np.random.default_rng(seed)
    model = TokenizerModel(small_spec()).double()
    with torch.no_grad():
        _draw_weights(model, random)
        _fit_codebooks(model, random)
    model.float()
    return Tokenizer(model, trained=False, origin=f"small_tokenizer(seed={seed}), untrained")


def _draw_weights(model: TokenizerModel, random: np.random.Generator) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.ndim == 1:
            parameter.fill_(1.0)
        else:
            fan_in = parameter[0].numel()
            values = random.standard_normal(tuple(parameter.shape), dtype=np.float32)
            parameter.copy_(torch.from_numpy(values) * (1.0 / fan_in**0.5))
    model.decoder.vocoder.head.istft.window.copy_(
        torch.hann_window(model.spec.fft_samples, periodic=True, dtype=torch.float64)
    )
    # Log-mels lie far below zero; uncentred, every hop would look alike to random weights.
    conv1 = model.encoder.conv1
    if conv1.bias is not None:
        bias = conv1.weight.sum(dim=(1, 2)) * -_CENTRAL_LOG_MEL
        conv1.bias.copy_(bias.float())


def _fit_codebooks(model: TokenizerModel, random: np.random.Generator) -> None:
    """Entries near what the encoder says, level by level; some frames are kept for residuals."""
    front = LogMel(model.spec)
    mels = [front(torch.from_numpy(_sound(random, model.spec))) for _ in range(_NUM_SOUNDS)]
    features = model.encoder(mels)
    rows_ND = features.rows[torch.from_numpy(random.permutation(features.rows.shape[0]))]
    rest_ND = rows_ND[_NUM_EXEMPLARS:]
    for level, book in enumerate(model.encoder.quantizer.codebooks):
        if level == 0:
            more_VD = _mixtures(rest_ND, book.size - _NUM_EXEMPLARS, random)
            entries_VD = torch.cat([rows_ND[:_NUM_EXEMPLARS], more_VD])
        elif book.size > rest_ND.shape[0]:
            entries_VD = _mixtures(rest_ND, book.size, random)
        else:
            entries_VD = _means(rest_ND, book.size)
        entries_VD = (entries_VD / _GRID).round() * _GRID
        book.embed.copy_(entries_VD)
        book.embed_avg.copy_(entries_VD * model.spec.dead_code_threshold)
        book.cluster_size.fill_(model.spec.dead_code_threshold)
        book.inited.fill_(1.0)
        rest_ND = rest_ND - entries_VD[book.nearest(rest_ND)]


def _mixtures(rows_ND: Tensor, count: int, random: np.random.Generator) -> Tensor:
    """New vectors around the rows' mean, spread like them but half as far out.

    Subtracting one from a row then shortens it more often than not.
    """
    centre_D = rows_ND.mean(dim=0)
    picks = torch.from_numpy(random.integers(0, rows_ND.shape[0], size=(count, 4)))
    weights = torch.from_numpy(random.standard_normal((count, 4, 1)))
    return centre_D + ((rows_ND[picks] - centre_D) * weights).sum(dim=1) * 0.25


def _means(rows_ND: Tensor, count: int, rounds: int = 3) -> Tensor:
    """k-means from the first rows, which come in random order."""
    means_VD = rows_ND[:count].clone()
    for _ in range(rounds):
        nearest = torch.cdist(rows_ND, means_VD).argmin(dim=1)
        sums = torch.zeros_like(means_VD).index_add_(0, nearest, rows_ND)
        counts = torch.bincount(nearest, minlength=count).unsqueeze(1)
        means_VD = torch.where(counts > 0, sums / counts.clamp(min=1), means_VD)
    return means_VD


def _sound(random: np.random.Generator, spec: TokenizerSpec) -> Array:
    """Syllables of gliding harmonics and coloured noise, from whisper to loud."""
    num_samples = int(_SOUND_S * spec.sample_rate_hz)
    sound = random.standard_normal(num_samples) * 10.0 ** random.uniform(-4, -2)
    first = 0
    while first < num_samples:
        length = int(random.uniform(0.06, 0.4) * spec.sample_rate_hz)
        time_s = np.arange(min(length, num_samples - first)) / spec.sample_rate_hz
        level = 10.0 ** random.uniform(-2, 0) * np.hanning(length)[: time_s.size]
        kind = random.uniform()
        if kind < 0.6:
            pitch_hz = random.uniform(80, 350) * (1 + random.uniform(-0.8, 0.8) * time_s)
            cycle = np.cumsum(pitch_hz) / spec.sample_rate_hz % 1.0
            pulse = cycle ** random.uniform(1, 30)
            formant = np.sin(np.arange(64) * random.uniform(0.05, 1.0)) * np.hanning(64)
            voice = np.convolve(pulse - pulse.mean(), formant)[: time_s.size]
            sound[first : first + time_s.size] += level * voice / 4
        elif kind < 0.85:
            noise = random.standard_normal(time_s.size)
            if random.uniform() < 0.5:
                noise = np.diff(noise, prepend=0.0)
            sound[first : first + time_s.size] += level * noise / 2
        first += length
    return sound
