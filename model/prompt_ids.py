"""What may stand in `input_ids`: shape, ranges, and padding of unequal prompts."""

# Shapes: B rows, C audio channels, T frames, P positions (groups), G frames of a group.

from collections.abc import Sequence

import torch
from torch import Tensor

from model.spec import ModelSpec
from schemas.errors import ModelError


def split_ids(
    input_ids: Tensor, spec: ModelSpec, empty_text: int, counts: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Text ids `[B, P]` and codes `[B, P, G, C]` of `input_ids` `[B, 1 + C, T]`, checked.

    Row 0 is read at the first frame of each group, the other rows at audio positions; what is not
    read may hold anything and comes out as text id 0 and as empty codes. `counts` are the groups of
    each row that are no padding. Raises `ModelError`.
    """
    _check_shape(input_ids, spec)
    batch_size, _, num_frames = input_ids.shape
    num_groups = num_frames // spec.group_size
    text_BP = input_ids[:, 0, :: spec.group_size].long()
    codes_BPGC = input_ids[:, 1:].long().unflatten(-1, (num_groups, -1)).permute(0, 2, 3, 1)
    if counts is not None:
        check_counts(counts, batch_size, num_groups)
        ends_B1 = torch.tensor(list(counts), device=input_ids.device).unsqueeze(1)
        padding_BP = torch.arange(num_groups, device=input_ids.device) >= ends_B1
        text_BP = text_BP.masked_fill(padding_BP, 0)
    empty_C = torch.tensor(spec.empty_codes, device=input_ids.device)
    sizes_C = torch.tensor(spec.channel_sizes, device=input_ids.device)
    is_audio_BP = text_BP == empty_text
    codes_BPGC = torch.where(is_audio_BP[:, :, None, None], codes_BPGC, empty_C)
    wrong_text = (text_BP < 0) | (text_BP >= spec.vocab_size)
    wrong_codes = (codes_BPGC < 0) | (codes_BPGC >= sizes_C)
    if bool(wrong_text.any()):
        row, group = wrong_text.nonzero()[0].tolist()
        raise ModelError(
            f"row {row}, group {group}: text id {int(text_BP[row, group])}, wanted "
            f"0..{spec.vocab_size - 1}; the first frame of a group holds its text id"
        )
    if bool(wrong_codes.any()):
        row, group, frame, channel = wrong_codes.nonzero()[0].tolist()
        raise ModelError(
            f"row {row}, frame {group * spec.group_size + frame}, channel {channel}: code "
            f"{int(codes_BPGC[row, group, frame, channel])}, wanted 0.."
            f"{spec.channel_sizes[channel] - 1}; was it made by another tokenizer?"
        )
    return text_BP, codes_BPGC


def check_counts(counts: Sequence[int], batch_size: int, num_groups: int) -> None:
    """One count of groups for each row, all within what was given."""
    if len(counts) != batch_size:
        raise ModelError(f"{len(counts)} lengths for {batch_size} rows; give one for each row")
    for row, count in enumerate(counts):
        if not 1 <= count <= num_groups:
            raise ModelError(
                f"row {row}: length {count}, wanted 1..{num_groups} groups; lengths count groups, "
                "not frames"
            )


def check_context(longest: int, spec: ModelSpec) -> None:
    """No row may outgrow the backbone's positions."""
    if longest > spec.context_groups:
        raise ModelError(
            f"{longest} groups are beyond the context of {spec.context_groups}; shorten the prompt "
            "or what is generated"
        )


def pad_prompts(prompts: Sequence[Tensor], spec: ModelSpec) -> tuple[Tensor, list[int]]:
    """Prompts `[1 + C, T_b]` as one batch `[B, 1 + C, T]`, zeros on the right, and their groups."""
    if not prompts:
        raise ModelError("no prompts; give one or more")
    for prompt in prompts:
        _check_shape(prompt.unsqueeze(0), spec)
    longest = max(prompt.shape[-1] for prompt in prompts)
    padded = prompts[0].new_zeros((len(prompts), prompts[0].shape[0], longest))
    for row, prompt in enumerate(prompts):
        padded[row, :, : prompt.shape[-1]] = prompt
    return padded, [prompt.shape[-1] // spec.group_size for prompt in prompts]


def _check_shape(input_ids: Tensor, spec: ModelSpec) -> None:
    rows, shape = 1 + spec.num_channels, list(input_ids.shape)
    if input_ids.ndim != 3 or shape[1] != rows or shape[0] == 0:
        raise ModelError(
            f"input_ids has shape {shape}, wanted [batch, {rows}, frames]: a text row and "
            f"{spec.num_channels} audio channels"
        )
    if input_ids.dtype not in (torch.int64, torch.int32, torch.int16):
        raise ModelError(f"input_ids is {input_ids.dtype}, wanted int64, int32 or int16")
    if shape[2] == 0 or shape[2] % spec.group_size:
        raise ModelError(
            f"input_ids has {shape[2]} frames, wanted a positive multiple of {spec.group_size}; "
            "repeat the last frame of the audio up to one"
        )
