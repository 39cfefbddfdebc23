"""Decoding, whole and streamed, against stored outputs of the published tokenizer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tokenizer import Tokenizer, TokenizerOptions
from tokenizer.streaming import StreamDecoder

GOLDEN = Path(__file__).parent / "golden" / "tokenizer-tiny"
CLIPS = ("a", "b", "c", "d")
STREAMS = ("stream_default", "stream_small")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "vectors.safetensors")


@pytest.fixture(scope="module")
def streaming() -> dict[str, Any]:
    script: dict[str, Any] = json.loads((GOLDEN / "streaming.json").read_text())
    return script


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_pretrained(GOLDEN)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def distance(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(("codes", "vectors"), [("codes_nq8", "deq8"), ("codes", "deq_all")])
def test_codes_stand_for_the_published_vectors(
    tokenizer: Tokenizer, golden: dict[str, Tensor], clip: str, codes: str, vectors: str
) -> None:
    found = tokenizer.dequantize(golden[f"{clip}/{codes}"].T)
    assert distance(found, golden[f"{clip}/{vectors}"]) < 1e-4


@pytest.mark.parametrize("clip", CLIPS)
def test_a_clip_decodes_to_the_published_waveform(
    tokenizer: Tokenizer, golden: dict[str, Tensor], clip: str
) -> None:
    (samples,) = tokenizer.decode([golden[f"{clip}/codes_nq8"].T])
    assert distance(samples, golden[f"{clip}/dec8"][0, 0]) < 1e-4


def test_all_codebooks_decode_to_the_published_waveform(
    tokenizer: Tokenizer, golden: dict[str, Tensor]
) -> None:
    (samples,) = tokenizer.decode([golden["a/codes"].T])
    assert distance(samples, golden["a/dec_all"][0, 0]) < 1e-4


def test_clips_decoded_together_sound_as_the_published_ones_alone(
    tokenizer: Tokenizer, golden: dict[str, Tensor]
) -> None:
    together = tokenizer.decode([golden[f"{clip}/codes_nq8"].T for clip in CLIPS])
    for clip, samples in zip(CLIPS, together, strict=True):
        assert distance(samples, golden[f"{clip}/dec8"][0, 0]) < 1e-4


def test_a_padded_batch_decodes_to_the_published_padded_batch(
    tokenizer: Tokenizer, golden: dict[str, Tensor]
) -> None:
    clips = golden["batch/codes"].T.split(golden["batch/code_lens"].tolist())
    all_levels = torch.cat([tokenizer.dequantize(clip) for clip in clips])
    assert distance(all_levels, golden["batch/deq_packed"]) < 1e-4
    decoded = tokenizer.decode([clip[:, :8] for clip in clips], as_padded_batch=True)
    for samples, wanted in zip(decoded, golden["batch/dec8"], strict=True):
        assert distance(samples, wanted[0]) < 1e-4


@pytest.mark.parametrize("name", STREAMS)
def test_several_streams_give_the_published_pieces(
    tokenizer: Tokenizer, golden: dict[str, Tensor], streaming: dict[str, Any], name: str
) -> None:
    script = streaming[name]
    num_streams = len(script["steps"][0]["chunk_lengths"])
    decoder = StreamDecoder(
        tokenizer,
        num_streams,
        left_frames=script["left_overlap"],
        right_frames=script["right_overlap"],
        as_padded_batch=True,
    )
    per_step = [step["chunk_lengths"] for step in script["steps"]]
    chunks = [
        golden[f"{name}/codes/stream{stream}"].T.split([lengths[stream] for lengths in per_step])
        for stream in range(num_streams)
    ]
    for number, step in enumerate(script["steps"]):
        pieces = decoder.step([parts[number] for parts in chunks], last=step["last_chunk"])
        for stream, piece in enumerate(pieces):
            assert piece.shape[0] == (step["returned_samples"][stream] or 0)
            assert decoder.returned_frames(stream) == step["processed_lengths"][stream]
            assert decoder.cached_frames(stream) == step["cached_frames"][stream]
            if piece.shape[0]:
                wanted = golden[f"{name}/chunk{number}/stream{stream}/wav"][0]
                assert distance(piece, wanted) < 1e-4


def test_one_stream_gives_the_pieces_of_the_longest_published_stream(
    tokenizer: Tokenizer, golden: dict[str, Tensor], streaming: dict[str, Any]
) -> None:
    script = streaming["stream_small"]
    lengths = [step["chunk_lengths"][1] for step in script["steps"][:2]]
    codes = golden["stream_small/codes/stream1"].T
    decoder = StreamDecoder(tokenizer, left_frames=12, right_frames=4)
    # In these two steps stream 1 is the longest, so padding has not touched it.
    for number, chunk in enumerate(codes[: sum(lengths)].split(lengths)):
        (piece,) = decoder.step([chunk])
        wanted = golden[f"stream_small/chunk{number}/stream1/wav"][0]
        assert distance(piece, wanted) < 1e-4


def test_bfloat16_sounds_like_the_published_bfloat16(golden: dict[str, Tensor]) -> None:
    tokenizer = Tokenizer.from_pretrained(
        GOLDEN,
        dtype=torch.bfloat16,
        options=TokenizerOptions(round_rope=True, round_tables=True),
    )
    (samples,) = tokenizer.decode([golden["bf16/codes"][:8].T])
    wanted = golden["bf16/dec8"][0, 0]
    assert float(torch.cosine_similarity(samples, wanted, dim=0)) > 0.99


def test_every_stage_of_the_decoder_gives_the_published_intermediate_result(
    tokenizer: Tokenizer, golden: dict[str, Tensor]
) -> None:
    decoder = tokenizer.model.decoder
    points: dict[str, nn.Module] = {
        "dec_dconv1_out": decoder.dconv1,
        "dec_layer0_attn": decoder.get_submodule("layers.0.self_attn.out_proj"),
        "dec_final_ln_out": decoder.layer_norm,
        "dec_dconv2_out": decoder.dconv2,
        "voc_embed_out": decoder.vocoder.embeddings,
        "voc_layer0_attn": decoder.vocoder.get_submodule("layers.0.self_attn.out_proj"),
        "voc_ln_out": decoder.vocoder.layer_norm,
        "voc_head_linear_out": decoder.vocoder.head.out,
    }
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(
            # The attention's result is stored without what it is added to.
            lambda module, inputs, more, output, name=name: seen.__setitem__(
                name, output - more.get("plus", 0)
            ),
            with_kwargs=True,
        )
        for name, module in points.items()
    ]
    try:
        vectors = tokenizer.dequantize(golden["a/codes_nq8"].T)
        tokenizer.model.decoder([vectors])
    finally:
        for hook in hooks:
            hook.remove()
    assert set(seen) == set(points)
    for name, tensor in seen.items():
        wanted = golden[f"dbg/{name}"]
        assert distance(tensor, wanted[0] if wanted.ndim == 3 else wanted) < 1e-4, name
