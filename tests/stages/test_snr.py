"""The estimated signal-to-noise ratio follows the true one."""

import numpy as np
import pytest

from schemas.codes import Waveform
from schemas.spans import Span
from stages.snr import MAX_SNR_DB, MIN_SNR_DB, snr_db
from tests.stages.recorded import RATE_HZ, shared_recording, speech_like

SNRS_DB = (0.0, 5.0, 10.0, 15.0, 20.0)


def with_noise(speech: Waveform, noise: Waveform, snr: float) -> Waveform:
    scale = np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr / 20)
    return (speech + scale * noise).astype(np.float32)


def white(num_samples: int, seed: int = 0) -> Waveform:
    return np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32)


def pink(num_samples: int, seed: int = 0) -> Waveform:
    spectrum = np.fft.rfft(white(num_samples, seed))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(num_samples, 1 / RATE_HZ), 40.0))
    return np.fft.irfft(spectrum, num_samples).astype(np.float32)


def whole(samples: Waveform) -> list[Span]:
    return [Span(0, len(samples))]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("colour", [white, pink])
def test_steady_noise_is_measured_within_three_db(colour: object, seed: int) -> None:
    speech = speech_like(8.0, seed)
    noise = (white if colour is white else pink)(len(speech), seed)
    estimates = [snr_db(with_noise(speech, noise, snr), RATE_HZ, whole(speech)) for snr in SNRS_DB]
    for estimate, true in zip(estimates, SNRS_DB, strict=True):
        assert estimate == pytest.approx(true, abs=3.0)


@pytest.mark.parametrize(
    "path", ["austen-0870.wav", "librispeech-533-1066-0007.flac", "LJ001-0005.wav"]
)
def test_noise_on_real_speech_is_measured_within_three_db(path: str) -> None:
    speech = shared_recording(f"speech-en/{path}")
    for snr in (0.0, 10.0, 15.0):
        noisy = with_noise(speech, white(len(speech)), snr)
        assert snr_db(noisy, RATE_HZ, whole(speech)) == pytest.approx(snr, abs=3.0)


def test_composed_recordings_come_out_in_order_and_near_their_audible_ratio() -> None:
    # Their noise lies mostly below 20 Hz. From 40 Hz upwards they hold 28.2, 18.2 and 8.2 dB.
    speech = [Span(13_104, 122_832), Span(129_072, 165_072), Span(171_312, 211_920)]
    for name, audible_db in (("20", 28.2), ("10", 18.2), ("00", 8.2)):
        samples = shared_recording(f"quality-pairs/composed-snr-{name}db.flac")
        assert snr_db(samples, RATE_HZ, speech) == pytest.approx(audible_db, abs=6.0)


def test_noise_in_the_pauses_alone_is_seen_through_the_speech_spans() -> None:
    speech, second = speech_like(4.0), np.zeros(RATE_HZ, np.float32)
    quiet = np.concatenate([speech, second])
    humming = np.concatenate([speech, 0.03 * white(RATE_HZ)])
    spans = [Span(0, len(speech))]
    clean, noisy = snr_db(quiet, RATE_HZ, spans), snr_db(humming, RATE_HZ, spans)
    assert clean is not None
    assert noisy is not None
    assert noisy < 15.0 < clean - 10.0


def test_pauses_are_not_believed_when_the_detector_has_lost_the_speech() -> None:
    speech = speech_like(6.0)
    estimate = snr_db(with_noise(speech, white(len(speech)), 15.0), RATE_HZ, [])
    assert estimate == pytest.approx(15.0, abs=3.0)


def test_level_does_not_matter() -> None:
    noisy = with_noise(speech_like(5.0), white(5 * RATE_HZ), 12.0)
    loud, faint = (snr_db(gain * noisy, RATE_HZ, whole(noisy)) for gain in (1.0, 0.01))
    assert loud == pytest.approx(faint, abs=0.01)


def test_extremes_stay_in_range_and_silence_has_no_ratio() -> None:
    noise_only = white(3 * RATE_HZ)
    assert snr_db(noise_only, RATE_HZ, whole(noise_only)) == pytest.approx(MIN_SNR_DB, abs=2.0)
    clean = speech_like(5.0)
    estimate = snr_db(clean, RATE_HZ, whole(clean))
    assert estimate is not None
    assert 35.0 < estimate <= MAX_SNR_DB
    assert snr_db(np.zeros(RATE_HZ, np.float32), RATE_HZ, []) is None
    assert snr_db(clean[:1000], RATE_HZ, []) is None
