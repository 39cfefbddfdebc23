"""The encoder side against stored outputs of the published tokenizer (`golden/README.md`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tokenizer import Tokenizer, TokenizerOptions
from tokenizer.resample import resample

GOLDEN = Path(__file__).parent / "golden" / "tokenizer-tiny"
CLIPS = ("a", "b", "c", "d")
RESAMPLED_HZ = (8000, 16000, 22050, 44100, 48000)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "vectors.safetensors")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_pretrained(GOLDEN)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def waveform(golden: dict[str, Tensor], clip: str) -> Tensor:
    return golden[f"{clip}/wav"].float() / 32768


def distance(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


def features(tokenizer: Tokenizer, mels: list[Tensor], *, as_padded_batch: bool = False) -> Tensor:
    found = tokenizer.model.encoder(mels, as_padded_batch=as_padded_batch)
    return torch.cat([found.pack.of_clip(found.rows, index) for index in range(len(mels))])


def assert_codes_equal(found_TK: Tensor, wanted_KT: Tensor, margin_KT: Tensor) -> None:
    """Equal, but for frames after a decision so close that float noise may turn it."""
    close = (margin_KT[: wanted_KT.shape[0]] < 1e-3).cumsum(dim=0) > 0
    different = wanted_KT != found_TK.T
    assert not bool((different & ~close).any())
    # On machines seen so far nothing differs at all; a handful would still be noise.
    assert int(different.sum()) <= different.numel() // 200


@pytest.mark.parametrize("clip", CLIPS)
def test_mel_is_the_published_one(
    tokenizer: Tokenizer, golden: dict[str, Tensor], clip: str
) -> None:
    difference = (tokenizer._clips.mel(waveform(golden, clip)) - golden[f"{clip}/mel"]).abs()
    assert float(difference.max()) < 1e-3
    assert float(difference.mean()) < 1e-5


@pytest.mark.parametrize("clip", CLIPS)
def test_features_before_quantisation_are_the_published_ones(
    tokenizer: Tokenizer, golden: dict[str, Tensor], clip: str
) -> None:
    found = features(tokenizer, [golden[f"{clip}/mel"]])
    assert distance(found, golden[f"{clip}/enc"]) < 1e-4


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(("num_codebooks", "key"), [(8, "codes_nq8"), (20, "codes")])
def test_codes_of_a_clip_are_the_published_ones(
    tokenizer: Tokenizer, golden: dict[str, Tensor], clip: str, num_codebooks: int, key: str
) -> None:
    (codes,) = tokenizer.encode([waveform(golden, clip)], num_codebooks)
    assert codes.dtype == torch.int64
    assert_codes_equal(codes, golden[f"{clip}/{key}"], golden[f"{clip}/margin"])


def test_codes_in_company_are_those_that_the_published_tokenizer_gives_alone(
    tokenizer: Tokenizer, golden: dict[str, Tensor]
) -> None:
    together = tokenizer.encode([waveform(golden, clip) for clip in CLIPS], 20)
    for clip, codes in zip(CLIPS, together, strict=True):
        assert_codes_equal(codes, golden[f"{clip}/codes"], golden[f"{clip}/margin"])


def test_a_padded_batch_gives_what_the_published_padded_batch_gives(
    tokenizer: Tokenizer, golden: dict[str, Tensor]
) -> None:
    mels = [golden[f"{clip}/mel"] for clip in "abc"]
    assert [mel.shape[0] for mel in mels] == golden["batch/mel_lens"].tolist()
    found = features(tokenizer, mels, as_padded_batch=True)
    assert distance(found, golden["batch/enc_packed"]) < 1e-4
    codes_TK = tokenizer.model.encoder.quantizer.encode(found, 20)
    assert_codes_equal(codes_TK, golden["batch/codes"], golden["batch/margin"])
    # The batch is a case worth having only because it differs from the clips alone.
    assert distance(found[:26], golden["a/enc"]) > 1e-3


def test_segments_of_a_long_clip_as_one_padded_batch(golden: dict[str, Tensor]) -> None:
    options = TokenizerOptions(segment_hops=100, reference_padding=True)
    tokenizer = Tokenizer.from_pretrained(GOLDEN, options=options)
    (codes,) = tokenizer.encode([waveform(golden, "c")], 20)
    assert_codes_equal(codes, golden["seg/codes"], golden["seg/margin"])


def test_padded_segments_of_one_clip_do_not_meet_another_clip(golden: dict[str, Tensor]) -> None:
    options = TokenizerOptions(segment_hops=100, reference_padding=True)
    tokenizer = Tokenizer.from_pretrained(GOLDEN, options=options)
    clips = [waveform(golden, clip) for clip in "dcb"]
    for alone, together in zip(
        (tokenizer.encode([clip], 20)[0] for clip in clips),
        tokenizer.encode(clips, 20),
        strict=True,
    ):
        assert torch.equal(alone, together)


def test_rounded_rotary_frequencies_give_the_codes_of_the_model_cast_whole(
    golden: dict[str, Tensor],
) -> None:
    tokenizer = Tokenizer.from_pretrained(GOLDEN, options=TokenizerOptions(round_rope=True))
    found = features(tokenizer, [golden["c/mel"]])
    assert distance(found, golden["rope_rounded/enc"]) < 1e-4
    assert distance(found, golden["c/enc"]) > 1e-4
    (codes,) = tokenizer.encode([waveform(golden, "c")], 20)
    assert_codes_equal(codes, golden["rope_rounded/codes"], golden["rope_rounded/margin"])


def test_bfloat16_stays_near_the_published_bfloat16(golden: dict[str, Tensor]) -> None:
    tokenizer = Tokenizer.from_pretrained(
        GOLDEN,
        dtype=torch.bfloat16,
        options=TokenizerOptions(round_rope=True, round_tables=True),
    )
    found = features(tokenizer, [golden["c/mel"]]).float()
    similarity = torch.cosine_similarity(found.flatten(), golden["bf16/enc"].flatten(), dim=0)
    assert float(similarity) > 0.999
    (codes,) = tokenizer.encode([waveform(golden, "c")], 20)
    assert float((codes[:, 0] == golden["bf16/codes"][0]).float().mean()) > 0.9


@pytest.mark.parametrize("rate_hz", RESAMPLED_HZ)
def test_resampling_is_the_published_one(golden: dict[str, Tensor], rate_hz: int) -> None:
    source = golden[f"resample/{rate_hz}/in"].float() / 32768
    wanted = golden[f"resample/{rate_hz}/out24000"]
    found = resample(source, rate_hz, 24000)
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) < 5e-5


def test_every_stage_of_the_encoder_gives_the_published_intermediate_result(
    tokenizer: Tokenizer, golden: dict[str, Tensor]
) -> None:
    encoder = tokenizer.model.encoder
    seen: dict[str, Tensor] = {}
    hooks = [
        encoder.get_submodule("layers.0.self_attn.out_proj").register_forward_hook(
            lambda module, inputs, more, output: seen.update(layer0_attn=output - more["plus"]),
            with_kwargs=True,
        ),
        encoder.layer_norm.register_forward_hook(
            lambda module, inputs, output: seen.update(final_ln_in=inputs[0], final_ln_out=output)
        ),
        encoder.down_sample_norm.register_forward_hook(
            lambda module, inputs, output: seen.update(down_out=inputs[0], down_norm_out=output)
        ),
    ]
    try:
        features(tokenizer, [golden["a/mel"]])
    finally:
        for hook in hooks:
            hook.remove()
    wanted = {name: golden[f"dbg/enc_{name}"] for name in seen}
    wanted["down_out"] = wanted["down_out"][0].T
    for name, tensor in seen.items():
        assert distance(tensor, wanted[name]) < 1e-4, name
