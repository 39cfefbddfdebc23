"""Augmentation: a pure function of waveform and generator state, within the ranges of its spec."""

from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pytest

from schemas.codes import Waveform
from schemas.errors import TokenizerError
from tokenizer.training.augment import Augment, AugmentSpec

RATE_HZ = 24_000
CHANCES = [field.name for field in fields(AugmentSpec) if field.name.endswith("_chance")]
OFF: dict[str, Any] = dict.fromkeys(CHANCES, 0.0)


def tone(hz: float, seconds: float = 1.5, amplitude: float = 0.3) -> Waveform:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (amplitude * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def hiss(seconds: float, seed: int = 0, rms: float = 0.1) -> Waveform:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    return (rms * samples).astype(np.float32)


def only(chance: str, backgrounds: list[Waveform] | None = None, **ranges: Any) -> Augment:
    """One change, always made."""
    spec = AugmentSpec(**(OFF | {chance: 1.0} | ranges))
    return Augment(spec, RATE_HZ, backgrounds or [])


def strongest_hz(waveform: Waveform) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(np.argmax(spectrum) * RATE_HZ / len(waveform))


def rms(waveform: Waveform) -> float:
    return float(np.sqrt(np.mean(waveform.astype(np.float64) ** 2)))


def test_same_state_same_bits_and_the_input_stays() -> None:
    augment = Augment(AugmentSpec(), RATE_HZ, [hiss(0.4), tone(440.0, 5.0)])
    waveform = tone(300.0) + hiss(1.5)
    before = waveform.copy()
    for seed in range(40):
        first = augment(waveform, np.random.default_rng(seed))
        again = augment(waveform, np.random.default_rng(seed))
        assert first.tobytes() == again.tobytes()
    assert np.array_equal(waveform, before)


def test_whatever_is_drawn_is_float32_finite_and_within_full_scale() -> None:
    chances: dict[str, Any] = dict.fromkeys(CHANCES, 0.8)
    spec = AugmentSpec(**chances)
    augment = Augment(spec, RATE_HZ, [hiss(0.4), tone(440.0, 5.0)])
    random = np.random.default_rng(1)
    loud = np.sign(tone(200.0))
    silent = np.zeros(5_000, dtype=np.float32)
    for waveform in [loud, silent, hiss(0.0005), loud[:1]] * 25:
        changed = augment(waveform, random)
        assert changed.dtype == np.float32
        assert changed.ndim == 1
        assert np.isfinite(changed).all()
        assert np.max(np.abs(changed)) <= 1.0
        assert 0.84 * len(waveform) <= len(changed) <= len(waveform) / 0.84 + 1


def test_nothing_switched_on_changes_nothing() -> None:
    waveform = tone(300.0)
    changed = Augment(AugmentSpec(**OFF), RATE_HZ, [])(waveform, np.random.default_rng(0))
    assert np.array_equal(changed, waveform)


@pytest.mark.parametrize(("speed", "num_samples"), [(0.85, 42_353), (1.1, 32_728), (1.0, 36_000)])
def test_speed_moves_length_and_pitch(speed: float, num_samples: int) -> None:
    augment = only("speed_chance", speed=(speed, speed))
    changed = augment(tone(1_000.0), np.random.default_rng(0))
    assert len(changed) == num_samples  # ceil(36000 / speed)
    assert strongest_hz(changed) == pytest.approx(1_000.0 * speed, abs=1.0)


def test_room_rings_after_the_sound_and_dies_away() -> None:
    click = np.zeros(RATE_HZ, dtype=np.float32)
    click[1_000] = 0.5
    augment = only("room_chance", rt60_s=(0.4, 0.4), direct_to_room_db=(3.0, 3.0))
    heard = augment(click, np.random.default_rng(0))
    assert len(heard) == len(click)
    assert heard[1_000] == pytest.approx(0.5, abs=1e-4)
    assert np.max(np.abs(heard[:1_000])) < 1e-6
    room = heard[1_001:]
    assert 10 * np.log10(0.25 / np.sum(room**2)) == pytest.approx(3.0, abs=0.1)
    early, late = room[1_200:2_400], room[6_000:7_200]  # 0.2 s apart: half of the 60 dB
    assert 20 * np.log10(rms(early) / rms(late)) == pytest.approx(30.0, abs=2.0)


@pytest.mark.parametrize("chance", ["noise_chance", "background_chance"])
def test_noise_comes_at_the_ratio_asked_for(chance: str) -> None:
    waveform = tone(300.0)
    augment = only(chance, [hiss(0.3)], snr_db=(12.0, 12.0))
    for seed in range(6):
        added = augment(waveform, np.random.default_rng(seed)) - waveform
        assert 20 * np.log10(rms(waveform) / rms(added)) == pytest.approx(12.0, abs=0.1)


def test_a_background_is_taken_from_anywhere_and_repeated_where_short() -> None:
    long, short = hiss(6.0, seed=1), hiss(0.4, seed=2)
    for background in (long, short):
        augment = only("background_chance", [background], snr_db=(0.0, 0.0))
        waveform = tone(300.0)
        first, second = (
            augment(waveform, np.random.default_rng(seed)) - waveform for seed in (0, 1)
        )
        assert not np.allclose(first, second, atol=1e-3)
        if background is short:
            assert np.allclose(first[: len(short)], first[len(short) : 2 * len(short)], atol=1e-6)


def test_low_pass_removes_what_lies_above() -> None:
    augment = only("low_pass_chance", low_pass_hz=(3_400.0, 3_400.0))
    for seed in range(4):
        below = augment(tone(1_000.0), np.random.default_rng(seed))
        above = augment(tone(9_000.0), np.random.default_rng(seed))
        assert rms(below) == pytest.approx(rms(tone(1_000.0)), rel=0.02)
        assert rms(above) < 0.03 * rms(tone(9_000.0))


def test_equalizer_tilts_around_one_kilohertz() -> None:
    augment = only("equalizer_chance", tilt_db=(2.0, 2.0), bump_db=(0.0, 0.0))
    gains_db = [
        20
        * np.log10(
            rms(augment(tone(hz, amplitude=0.1), np.random.default_rng(0)))
            / rms(tone(hz, amplitude=0.1))
        )
        for hz in (250.0, 1_000.0, 4_000.0)
    ]
    assert gains_db == pytest.approx([-4.0, 0.0, 4.0], abs=0.2)


def test_gain_takes_less_where_more_would_clip() -> None:
    augment = only("gain_chance", gain_db=(3.0, 3.0))
    quiet, loud = tone(300.0, amplitude=0.1), tone(300.0, amplitude=0.9)
    assert rms(augment(quiet, np.random.default_rng(0))) == pytest.approx(10**0.15 * rms(quiet))
    assert np.max(np.abs(augment(loud, np.random.default_rng(0)))) == pytest.approx(0.99)


def test_ranges_may_come_as_lists() -> None:
    settings = asdict(AugmentSpec()) | {"snr_db": [12.0, 12.0], "noise_chance": 1.0}
    Augment(AugmentSpec(**settings), RATE_HZ, [])(tone(300.0), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speed_chance", 1.1),
        ("noise_chance", -0.1),
        ("room_chance", float("nan")),
        ("gain_chance", "often"),
        ("speed", (1.1, 0.9)),
        ("speed", (0.0, 1.0)),
        ("speed", (1.001, 1.002)),
        ("rt60_s", (0.1, 30.0)),
        ("snr_db", (float("nan"), 3.0)),
        ("gain_db", 3.0),
        ("tilt_db", (1.0, 2.0, 3.0)),
        ("low_pass_hz", (10.0, 4_000.0)),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(TokenizerError, match=name):
        AugmentSpec(**{name: value})


def test_what_does_not_fit_the_rate_is_refused() -> None:
    with pytest.raises(TokenizerError, match="low_pass_hz"):
        Augment(AugmentSpec(), 16_000, [])
    with pytest.raises(TokenizerError, match="sample_rate_hz"):
        Augment(AugmentSpec(low_pass_hz=(100.0, 100.0)), 0, [])


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros((2, 5), dtype=np.float32),
        np.zeros(0, dtype=np.float32),
        np.zeros(5, dtype=np.float64),
        np.full(5, np.nan, dtype=np.float32),
    ],
)
def test_no_waveform_is_refused(waveform: Any) -> None:
    augment = Augment(AugmentSpec(), RATE_HZ, [])
    with pytest.raises(TokenizerError, match="waveform"):
        augment(waveform, np.random.default_rng(0))
    with pytest.raises(TokenizerError, match="background 0"):
        Augment(AugmentSpec(), RATE_HZ, [waveform])


def test_a_silent_background_is_refused() -> None:
    with pytest.raises(TokenizerError, match="silent"):
        Augment(AugmentSpec(), RATE_HZ, [np.zeros(5, dtype=np.float32)])
