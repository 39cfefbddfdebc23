"""Attention inside each clip of a pack, by the fastest kernel this device has.

Never a mask over the pack: its size would grow with the square of everything in it. A kernel for
packed sequences where there is one (flash-attn, else torch's own, both on CUDA in half precision),
else one call a clip. On a CPU that call sees nothing but the clip, so its result cannot depend on
the company.
"""

# Shapes: N rows of a pack, L rows of one clip, H heads, E head width.

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from tokenizer.packing import Pack

UNLIMITED = (-1, -1)
_QUERY_BLOCK = 256
_CACHE_LINE = 64
_ROPE_BLOCK = 1024


def attend(
    q_NHE: Tensor, k_NHE: Tensor, v_NHE: Tensor, pack: Pack, window: tuple[int, int]
) -> Tensor:
    """What each row gathers from the rows of its own clip, `[N, H, E]`.

    `window` counts the positions seen to the left and right, both inclusive; -1 is unlimited.
    """
    kernel = kernel_for(q_NHE.device.type, q_NHE.dtype, q_NHE.shape[-1])
    if kernel == "flash-attn":
        return _flash(q_NHE, k_NHE, v_NHE, pack, window)
    if kernel == "varlen":
        return _varlen(q_NHE, k_NHE, v_NHE, pack, window)
    return _one_by_one(q_NHE, k_NHE, v_NHE, pack, window)


@cache
def kernel_for(device_type: str, dtype: torch.dtype, head_width: int) -> str:
    """Name of the kernel that serves: `flash-attn`, `varlen` or `sdpa`."""
    fits = dtype in (torch.float16, torch.bfloat16) and head_width % 8 == 0 and head_width <= 256
    if device_type != "cuda" or not fits:
        return "sdpa"
    try:
        import flash_attn  # noqa: F401
    except ImportError:
        pass
    else:
        return "flash-attn"
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: F401
    except ImportError:
        return "sdpa"
    return "varlen"


def _flash(q: Tensor, k: Tensor, v: Tensor, pack: Pack, window: tuple[int, int]) -> Tensor:
    from flash_attn import flash_attn_varlen_func

    borders, longest = pack.cumulative, pack.longest
    out: Tensor = flash_attn_varlen_func(
        q, k, v, borders, borders, longest, longest, window_size=window
    )
    return out


def _varlen(q: Tensor, k: Tensor, v: Tensor, pack: Pack, window: tuple[int, int]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    borders, longest = pack.cumulative, pack.longest
    out = varlen_attn(q, k, v, borders, borders, longest, longest, window_size=window)
    return out[0] if isinstance(out, tuple) else out


def _one_by_one(
    q_NHE: Tensor, k_NHE: Tensor, v_NHE: Tensor, pack: Pack, window: tuple[int, int]
) -> Tensor:
    # Split, not sliced: a slice's gradient is a matrix of zeros as large as the pack.
    clips = zip(*(part.split(pack.borders) for part in (q_NHE, k_NHE, v_NHE)), strict=True)
    results = []
    for place, (q_LHE, k_LHE, v_LHE) in enumerate(clips):
        if place % 2:  # rows between clips belong to none
            results.append(torch.zeros_like(q_LHE))
        else:
            results.append(_of_clip(_aligned(q_LHE), _aligned(k_LHE), _aligned(v_LHE), window))
    return torch.cat(results)


def _aligned(rows_LHE: Tensor) -> Tensor:
    """The rows where a fresh tensor would lie: matrix kernels may look at the address."""
    return rows_LHE if rows_LHE.data_ptr() % _CACHE_LINE == 0 else rows_LHE.clone()


def _of_clip(q_LHE: Tensor, k_LHE: Tensor, v_LHE: Tensor, window: tuple[int, int]) -> Tensor:
    q, k, v = (part.transpose(0, 1).unsqueeze(0) for part in (q_LHE, k_LHE, v_LHE))
    left, right = window
    length = q_LHE.shape[0]
    left = -1 if left >= length - 1 else left
    right = -1 if right >= length - 1 else right
    if (left, right) == UNLIMITED:
        out = functional.scaled_dot_product_attention(q, k, v)
    elif (left, right) == (-1, 0):
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        out = torch.cat(
            [_query_block(q, k, v, first, left, right) for first in range(0, length, _QUERY_BLOCK)],
            dim=2,
        )
    return out.squeeze(0).transpose(0, 1)


def _query_block(q: Tensor, k: Tensor, v: Tensor, first: int, left: int, right: int) -> Tensor:
    """A block of queries against the keys that any of them can see: linear in the clip's length."""
    length = q.shape[2]
    last = min(first + _QUERY_BLOCK, length)
    key_first = 0 if left < 0 else max(0, first - left)
    key_last = length if right < 0 else min(length, last + right)
    distance = (
        torch.arange(key_first, key_last, device=q.device)
        - torch.arange(first, last, device=q.device)[:, None]
    )
    seen = torch.ones_like(distance, dtype=torch.bool)
    if left >= 0:
        seen &= distance >= -left
    if right >= 0:
        seen &= distance <= right
    keys = slice(key_first, key_last)
    return functional.scaled_dot_product_attention(
        q[:, :, first:last], k[:, :, keys], v[:, :, keys], attn_mask=seen
    )


class Rope:
    """Rotary position tables, grown in blocks of fixed size.

    A block's bits depend on its place alone, never on how long the longest clip is: elementwise
    kernels take another path for the last few elements of a tensor.
    """

    def __init__(self, head_width: int, theta: float, *, round_to_bfloat16: bool = False) -> None:
        self.head_width = head_width
        self.theta = theta
        self.round_to_bfloat16 = round_to_bfloat16
        self._tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def of(self, pack: Pack, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine of each row's angles, each `[N, 1, E/2]`."""
        cos, sin = self.tables(pack.longest, pack.device, dtype)
        return cos[pack.positions].unsqueeze(1), sin[pack.positions].unsqueeze(1)

    def tables(
        self, length: int, device: torch.device, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Cosine and sine by position, each `[length or more, E/2]`."""
        tables = self._tables.get((device, dtype))
        if tables is None or tables[0].shape[0] < length:
            precise = torch.float64 if dtype == torch.float64 else torch.float32
            firsts = range(0, max(length, 1), _ROPE_BLOCK)
            blocks = [self._block(first, precise) for first in firsts]
            tables = (
                torch.cat([cos for cos, _ in blocks]).to(device, dtype),
                torch.cat([sin for _, sin in blocks]).to(device, dtype),
            )
            self._tables[device, dtype] = tables
        return tables

    def _block(self, first: int, precise: torch.dtype) -> tuple[Tensor, Tensor]:
        exponents = torch.arange(0, self.head_width, 2, dtype=precise) / self.head_width
        frequencies = 1.0 / (self.theta**exponents)
        if self.round_to_bfloat16:
            frequencies = frequencies.to(torch.bfloat16).to(precise)
        places = torch.arange(first, first + _ROPE_BLOCK, dtype=precise)
        angles = places[:, None] * frequencies
        return angles.cos(), angles.sin()


def rotate(x_NHE: Tensor, cos_N1F: Tensor, sin_N1F: Tensor) -> Tensor:
    """Rotary embedding of the whole head width, first half against second half."""
    left, right = x_NHE.chunk(2, dim=-1)
    return torch.cat([left * cos_N1F - right * sin_N1F, right * cos_N1F + left * sin_N1F], dim=-1)
