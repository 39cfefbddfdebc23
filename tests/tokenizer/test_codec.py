"""`tokenizer/codec.py`: what others call, and what it refuses."""

import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from schemas.codes import FrameEncoder
from schemas.errors import TokenizerError
from tests.tokenizer.make_sound import make_sound
from tokenizer import Tokenizer, TokenizerOptions, small_tokenizer
from tokenizer.fingerprint import same_meaning

FRAME = 960


def test_the_pipeline_can_use_it_as_its_frame_encoder(tiny: Tokenizer) -> None:
    assert isinstance(tiny, FrameEncoder)
    assert (tiny.sample_rate_hz, tiny.frame_rate_hz, tiny.samples_per_frame) == (24_000, 25, FRAME)
    assert tiny.num_codebooks == 20
    assert tiny.codebook_sizes == (64, 64, *[16] * 18)


@pytest.mark.parametrize("num_samples", [960, 961, 1_199, 1_200, 1_919, 1_920, 24_000, 31_234])
def test_clips_of_any_length_become_frames(tiny: Tokenizer, num_samples: int) -> None:
    (codes,) = tiny.encode([make_sound(num_samples)])
    assert codes.dtype == torch.int64
    assert codes.shape == (tiny.num_frames(num_samples), 8)
    assert bool((codes >= 0).all())
    assert bool((codes < torch.tensor(tiny.codebook_sizes[:8])).all())


@pytest.mark.parametrize("num_samples", [0, 1, 480, 481, 959])
def test_a_clip_shorter_than_a_frame_is_refused(tiny: Tokenizer, num_samples: int) -> None:
    message = (
        f"waveform 1 has {num_samples} samples, wanted 960 or more \\(40 ms\\); "
        "pad it with silence if it is wanted"
    )
    with pytest.raises(TokenizerError, match=message):
        tiny.encode([make_sound(960), make_sound(num_samples)])
    with pytest.raises(TokenizerError, match=message):
        tiny.encode_numpy([np.zeros(960, np.float32), np.zeros(num_samples, np.float32)], 8)


def test_fewer_codebooks_are_the_first_of_all(tiny: Tokenizer) -> None:
    sound = make_sound(24_000)
    (whole,) = tiny.encode([sound], 20)
    for count in (1, 8):
        assert torch.equal(tiny.encode([sound], count)[0], whole[:, :count])


def test_no_clips_are_no_codes(tiny: Tokenizer) -> None:
    assert tiny.encode([]) == []
    assert tiny.decode([]) == []


def test_other_float_types_are_taken(tiny: Tokenizer) -> None:
    sound = make_sound(9_600)
    assert torch.equal(tiny.encode([sound.double()])[0], tiny.encode([sound])[0])


def test_encoding_leaves_the_waveform_as_it_was(tiny: Tokenizer) -> None:
    sound = make_sound(9_600)
    before = sound.clone()
    tiny.encode([sound])
    assert torch.equal(sound, before)


@pytest.mark.parametrize("num_frames", [1, 2, 7, 26])
def test_codes_become_whole_frames_of_samples(tiny: Tokenizer, num_frames: int) -> None:
    codes = torch.randint(0, 16, (num_frames, 8), generator=torch.Generator().manual_seed(0))
    (samples,) = tiny.decode([codes])
    assert samples.dtype == torch.float32
    assert samples.shape == (num_frames * FRAME,)
    assert bool(samples.isfinite().all())


def test_a_long_clip_is_decoded_segment_by_segment(tiny_folder: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(tiny_folder, options=TokenizerOptions(segment_hops=40))
    codes = torch.randint(0, 16, (25, 8), generator=torch.Generator().manual_seed(0))
    (whole,) = tokenizer.decode([codes])
    parts = [tokenizer.decode([part])[0] for part in codes.split(10)]
    assert len(parts) == 3
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("num_samples", [960, 24_000, 24_001, 143_999, 144_000, 1_440_000])
def test_the_number_of_frames_is_known_before_encoding(num_samples: int, tiny: Tokenizer) -> None:
    options = tiny.options
    assert options.segment_hops == 6000
    hops = 1 + num_samples // 240
    whole, rest = divmod(hops, 6000)
    assert tiny.num_frames(num_samples) == whole * 1500 + math.ceil(math.ceil(rest / 2) / 2)


def test_arrays_go_in_and_out_for_the_pipeline(tiny: Tokenizer) -> None:
    sounds = [make_sound(24_000, 1), make_sound(5_000, 2)]
    arrays = [sound.numpy().copy() for sound in sounds]
    arrays[0].setflags(write=False)
    found = tiny.encode_numpy(arrays, 8)
    for codes, wanted in zip(found, tiny.encode(sounds), strict=True):
        assert codes.dtype == np.uint16
        assert np.array_equal(codes, wanted.numpy())
    samples = tiny.decode_numpy(found[0])
    assert samples.dtype == np.float32
    assert np.array_equal(samples, tiny.decode([torch.from_numpy(found[0].astype(int))])[0])


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (torch.zeros(2, 960), r"waveform 1 has shape \[2, 960\], wanted \[samples\]"),
        (torch.zeros(()), r"waveform 1 has shape \[\], wanted \[samples\]"),
        (torch.zeros(960, dtype=torch.int16), r"dtype torch\.int16, wanted float32"),
        (torch.zeros(960, dtype=torch.complex64), r"dtype torch\.complex64, wanted float32"),
        ([0.0] * 960, "waveform 1 is a list, wanted a 1-D float tensor"),
    ],
)
def test_what_is_no_waveform_is_refused(tiny: Tokenizer, waveform: Any, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tiny.encode([make_sound(960), waveform])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_sample_that_is_no_number_is_refused_with_its_place(tiny: Tokenizer, bad: float) -> None:
    sound = make_sound(2_000)
    sound[1234] = bad
    sound[1500] = bad
    with pytest.raises(TokenizerError, match=rf"has {bad} at sample 1234 \(2 in all\), wanted fin"):
        tiny.encode([sound])


def test_finite_samples_whose_sum_is_not_are_taken(tiny: Tokenizer) -> None:
    assert len(tiny.encode([torch.full((2_000,), 3e38)])) == 1


@pytest.mark.parametrize("hops", [0, -1])
def test_packs_of_no_hops_are_refused(tiny: Tokenizer, hops: int) -> None:
    with pytest.raises(TokenizerError, match=f"hops_per_pack is {hops}, wanted 1 or more"):
        tiny.encode([make_sound(960)], hops_per_pack=hops)


def test_a_callers_autocast_changes_nothing(tiny: Tokenizer) -> None:
    sound = make_sound(24_000)
    (codes,) = tiny.encode([sound], 20)
    (samples,) = tiny.decode([codes])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(tiny.encode([sound], 20)[0], codes)
        assert torch.equal(tiny.decode([codes])[0], samples)


def test_a_sample_beyond_float32_is_refused(tiny: Tokenizer) -> None:
    sound = make_sound(2_000).double()
    sound[7] = 1e300
    with pytest.raises(TokenizerError, match="waveform 1 has inf at sample 7"):
        tiny.encode([make_sound(960), sound])


@pytest.mark.parametrize("rate_hz", [0, 8_000, 16_000, 23_999, 48_000])
def test_another_sample_rate_is_refused_when_it_is_told(tiny: Tokenizer, rate_hz: int) -> None:
    with pytest.raises(TokenizerError, match=f"rate is {rate_hz} Hz, wanted 24000 Hz"):
        tiny.encode([make_sound(960)], sample_rate_hz=rate_hz)
    assert len(tiny.encode([make_sound(960)], sample_rate_hz=24_000)) == 1


@pytest.mark.parametrize("count", [0, -1, 21, 2.0, True])
def test_a_number_of_codebooks_out_of_range_is_refused(tiny: Tokenizer, count: Any) -> None:
    with pytest.raises(TokenizerError, match=f"num_codebooks is {count}, wanted"):
        tiny.encode([make_sound(960)], count)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(0, 8, dtype=torch.int64), r"clip 0 has shape \[0, 8\]"),
        (torch.zeros(4, 0, dtype=torch.int64), r"clip 0 has shape \[4, 0\]"),
        (torch.zeros(4, 21, dtype=torch.int64), r"shape \[4, 21\], wanted .* 1\.\.20 codebooks"),
        (torch.zeros(8, dtype=torch.int64), r"clip 0 has shape \[8\]"),
        (torch.zeros(4, 8), r"dtype torch\.float32, wanted an integer dtype"),
        (torch.zeros(4, 8, dtype=torch.bool), r"dtype torch\.bool, wanted an integer dtype"),
        ([[0] * 8], "clip 0 is a list, wanted an integer tensor"),
    ],
)
def test_what_are_no_codes_is_refused(tiny: Tokenizer, codes: Any, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tiny.decode([codes])


@pytest.mark.parametrize(("book", "code", "limit"), [(0, 64, 63), (0, -1, 63), (7, 16, 15)])
def test_a_code_out_of_its_codebook_is_refused_with_place_and_range(
    tiny: Tokenizer, book: int, code: int, limit: int
) -> None:
    codes = torch.zeros(5, 8, dtype=torch.int64)
    codes[3, book] = code
    wanted = rf"clip 0 has code {code} at frame 3 of codebook {book}, wanted 0\.\.{limit}"
    with pytest.raises(TokenizerError, match=wanted):
        tiny.decode([codes])
    place = wanted.removeprefix("clip 0 ")
    with pytest.raises(TokenizerError, match=place):
        tiny.decode_numpy(codes.numpy())
    with pytest.raises(TokenizerError, match=place):
        list(tiny.stream_decode(codes))
    with pytest.raises(TokenizerError, match=place):
        list(tiny.stream_decode(iter([codes])))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_codes_of_any_integer_type_are_taken(tiny: Tokenizer, dtype: torch.dtype) -> None:
    codes = torch.randint(0, 16, (5, 8), generator=torch.Generator().manual_seed(0))
    assert torch.equal(tiny.decode([codes.to(dtype)])[0], tiny.decode([codes])[0])


def test_arrays_of_the_wrong_kind_are_refused(tiny: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="codes are float32, wanted an integer array"):
        tiny.decode_numpy(np.zeros((4, 8), np.float32))
    with pytest.raises(TokenizerError, match="waveform 0 is a list, wanted a float32 array"):
        tiny.encode_numpy(cast(Any, [[0.0]]), 8)
    with pytest.raises(TokenizerError, match=r"dtype torch\.int16"):
        tiny.encode_numpy(cast(Any, [np.zeros(960, np.int16)]), 8)
    with pytest.raises(TokenizerError, match=r"waveform 0 has shape \[2, 960\]"):
        tiny.encode_numpy([np.zeros((2, 960), np.float32)], 8)


def test_a_saved_tokenizer_gives_the_same_codes_and_fingerprint(
    small: Tokenizer, tmp_path: Path
) -> None:
    small.save_pretrained(tmp_path / "copy")
    again = Tokenizer.from_pretrained(tmp_path / "copy")
    sound = make_sound(24_000)
    assert torch.equal(again.encode([sound])[0], small.encode([sound])[0])
    assert again.fingerprint() == small.fingerprint()
    assert again.describe() == small.describe()
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_rounded_tables_cannot_be_saved_as_the_checkpoint(
    tiny_folder: Path, tmp_path: Path
) -> None:
    rounded = Tokenizer.from_pretrained(tiny_folder, options=TokenizerOptions(round_tables=True))
    with pytest.raises(TokenizerError, match="rounded"):
        rounded.save_pretrained(tmp_path)


def test_the_fingerprint_is_canonical_json_of_what_decides_codes(tiny: Tokenizer) -> None:
    facts = json.loads(tiny.fingerprint())
    assert tiny.fingerprint() == json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert facts["trained"] is True
    assert facts["segment_hops"] == 6000
    assert facts["dtype"] == "float32"
    assert facts["codebook_sizes"] == [64, 64, *[16] * 18]
    assert len(facts["weights_sha256"]) == 64


@pytest.mark.parametrize(
    "changed",
    [
        {"segment_hops": 3000},
        {"reference_padding": True},
        {"round_rope": True},
        {"round_tables": True},
    ],
)
def test_each_option_that_changes_codes_changes_the_fingerprint(
    tiny: Tokenizer, tiny_folder: Path, changed: dict[str, Any]
) -> None:
    options = TokenizerOptions(**changed)
    other = Tokenizer.from_pretrained(tiny_folder, options=options)
    assert other.fingerprint() != tiny.fingerprint()
    assert other.describe()["weights_sha256"] == tiny.describe()["weights_sha256"]


def test_a_dtype_changes_the_fingerprint_but_not_the_weights_digest(
    tiny: Tokenizer, tiny_folder: Path
) -> None:
    half = Tokenizer.from_pretrained(tiny_folder, dtype=torch.bfloat16)
    assert half.fingerprint() != tiny.fingerprint()
    found, wanted = json.loads(half.fingerprint()), json.loads(tiny.fingerprint())
    assert found["weights_sha256"] == wanted["weights_sha256"]


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("encoder.layers.0.fc1.weight", False),
        ("encoder.quantizer.vq.layers.7._codebook.embed", False),
        ("encoder.quantizer.vq.layers.7._codebook.embed_avg", True),
        ("decoder.layer_norm.weight", True),
    ],
)
def test_the_fingerprint_follows_the_weights_that_decide_codes(
    tiny_folder: Path, tiny: Tokenizer, name: str, same: bool
) -> None:
    model = Tokenizer.from_pretrained(tiny_folder).model
    with torch.no_grad():
        model.state_dict()[name].view(-1)[0] += 1.0
    assert (Tokenizer(model).fingerprint() == tiny.fingerprint()) is same


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_a_dtype_that_is_no_float_is_refused(tiny_folder: Path, dtype: torch.dtype) -> None:
    with pytest.raises(TokenizerError, match="wanted float32, bfloat16 or float16"):
        Tokenizer.from_pretrained(tiny_folder, dtype=dtype)


def test_segments_of_no_length_are_refused() -> None:
    with pytest.raises(TokenizerError, match="segment_hops is 0, wanted 1 or more"):
        TokenizerOptions(segment_hops=0)


def test_float16_codes_are_near_those_of_float32(tiny_folder: Path, tiny: Tokenizer) -> None:
    half = Tokenizer.from_pretrained(tiny_folder, dtype=torch.float16)
    sound = make_sound(24_000)
    same = half.encode([sound])[0][:, 0] == tiny.encode([sound])[0][:, 0]
    assert float(same.float().mean()) > 0.9


@pytest.mark.gpu
def test_a_gpu_in_float32_gives_nearly_the_same_codes(tiny_folder: Path, tiny: Tokenizer) -> None:
    device = Tokenizer.from_pretrained(tiny_folder, device="cuda")
    sounds = [make_sound(length, length) for length in (24_000, 5_000, 100_000)]
    for found, wanted in zip(device.encode(sounds, 20), tiny.encode(sounds, 20), strict=True):
        assert float((found == wanted).float().mean()) > 0.99


@pytest.mark.gpu
def test_a_gpu_in_bfloat16_keeps_the_stated_share_of_codes(
    tiny_folder: Path, tiny: Tokenizer
) -> None:
    device = Tokenizer.from_pretrained(tiny_folder, device="cuda", dtype=torch.bfloat16)
    sounds = [make_sound(length, length) for length in (24_000, 5_000, 100_000)]
    found = torch.cat(device.encode(sounds, 8))
    same = (found == torch.cat(tiny.encode(sounds, 8))).float().mean(dim=0)
    assert float(same[0]) > 0.9
    assert float(same.min()) > 0.7
    decoded = device.decode([found[:100]])[0]
    assert float(torch.cosine_similarity(decoded, tiny.decode([found[:100]])[0], dim=0)) > 0.99


def test_decoding_cuts_where_encoding_did(tiny_folder: Path) -> None:
    options = TokenizerOptions(segment_hops=101)
    tokenizer = Tokenizer.from_pretrained(tiny_folder, options=options)
    (codes,) = tokenizer.encode([make_sound(60_000, 1)])
    parts = [26, 26, codes.shape[0] - 52]
    alone = torch.cat([tokenizer.decode([part])[0] for part in codes.split(parts)])
    assert torch.equal(tokenizer.decode([codes])[0], alone)


def test_codes_of_another_precision_mean_the_same_and_those_of_other_weights_do_not(
    tiny_folder: Path,
) -> None:
    exact, half = (
        Tokenizer.from_pretrained(tiny_folder, dtype=dtype).fingerprint()
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert exact != half
    assert same_meaning(exact, half)
    assert not same_meaning(exact, small_tokenizer().fingerprint())
    assert not same_meaning(exact, "unnamed")
