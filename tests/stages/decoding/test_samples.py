"""Memory for samples: of fixed size, filled from front to back, then read-only."""

import errno
import mmap
import os

import numpy as np
import pytest

from stages.decoding.samples import SampleStore, SampleWriter

RAMP = np.arange(700_000, dtype=np.float32)


def test_what_is_written_comes_out() -> None:
    with SampleStore(4 << 20) as store:
        writer = SampleWriter(store.fd)
        for start in range(0, 700_000, 65_536):
            writer.append(RAMP[start : start + 65_536])
        assert writer.num_samples == 700_000
        samples = store.finished(700_000)
    assert np.array_equal(samples, RAMP)
    with pytest.raises(ValueError, match="read-only"):
        samples[0] = 1


def test_a_stride_is_written_like_any_other() -> None:
    with SampleStore(1 << 20) as store:
        writer = SampleWriter(store.fd)
        writer.append(RAMP[:1000:2])
        writer.append(RAMP[:0])
        assert np.array_equal(store.finished(500), RAMP[:1000:2])


def test_a_part_is_scaled_and_the_rest_is_not() -> None:
    with SampleStore(4 << 20) as store:
        writer = SampleWriter(store.fd)
        writer.append(RAMP)
        writer.scale(100, 600_000, 3.0)
        samples = store.finished(700_000)
    expected = RAMP.copy()
    expected[100:600_100] *= np.float32(3)
    assert np.array_equal(samples, expected)


def test_a_new_start_overwrites() -> None:
    with SampleStore(1 << 20) as store:
        writer = SampleWriter(store.fd)
        writer.append(RAMP[:100])
        writer.restart()
        writer.append(RAMP[100:150])
        assert np.array_equal(store.finished(50), RAMP[100:150])


def test_nothing_is_a_waveform_too() -> None:
    with SampleStore(1 << 20) as store:
        assert store.finished(0).shape == (0,)


def test_the_size_is_what_was_said_at_first() -> None:
    with SampleStore(4096) as store:
        writer = SampleWriter(store.fd)
        writer.append(RAMP[:1024])
        with pytest.raises(OSError, match="not permitted"):
            writer.append(RAMP[:1])
        for size in (0, 8192):
            with pytest.raises(PermissionError):
                os.ftruncate(store.fd, size)


def test_who_holds_it_open_for_writing_is_found_out() -> None:
    with SampleStore(4096) as store:
        held = mmap.mmap(store.fd, 4096)
        with pytest.raises(OSError, match="busy") as raised:
            store.finished(10)
        assert raised.value.errno == errno.EBUSY
        held.close()
        samples = store.finished(10)
        with pytest.raises(PermissionError):
            os.pwrite(store.fd, b"x", 0)
        assert not samples.any()
