"""Short-time power in bands."""

import numpy as np
import pytest

from schemas.codes import Waveform
from stages.band_power import Floats, band_power, hop_centres

RATE_HZ = 24_000
EDGES_HZ = (100.0, 500.0, 1500.0, 4000.0)


def power_of(samples: Waveform) -> Floats:
    return band_power(samples, RATE_HZ, window_ms=20, hop_ms=5, edges_hz=EDGES_HZ)


@pytest.mark.parametrize(("hz", "band"), [(300.0, 0), (1000.0, 1), (2500.0, 2)])
def test_a_tone_lands_in_its_band(hz: float, band: int) -> None:
    power = power_of(np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32))
    shares = power / power.sum(axis=1, keepdims=True)
    assert shares[:, band].min() > 0.999


def test_blocks_leave_no_seam() -> None:
    samples = np.random.default_rng(0).standard_normal(22 * RATE_HZ).astype(np.float32)
    whole = power_of(samples)  # 4,397 hops: two blocks
    start = 4000 * 120
    np.testing.assert_allclose(whole[4000:], power_of(samples[start:]), rtol=1e-12)


def test_less_than_a_window_has_no_hops() -> None:
    assert power_of(np.zeros(479, np.float32)).shape == (0, 3)
    assert power_of(np.zeros(480, np.float32)).shape == (1, 3)


def test_bands_without_a_bin_are_refused() -> None:
    with pytest.raises(ValueError, match="do not each hold a bin"):
        band_power(
            np.zeros(RATE_HZ, np.float32),
            RATE_HZ,
            window_ms=20,
            hop_ms=5,
            edges_hz=(100.0, 110.0, 120.0),
        )


def test_hops_are_centred_on_their_windows() -> None:
    centres = hop_centres(3, RATE_HZ, window_ms=20, hop_ms=5)
    assert centres.tolist() == [240, 360, 480]
