"""One audio patch from one hidden state: G frames of C channels, each channel delayed by its own.

At step t the decoder gives logits of every channel c with `delays[c] <= t < delays[c] + G`; the
token chosen from them is frame `t - delays[c]`. Its input at step 0 is the hidden state, and at
step t + 1 the sum of the embeddings of the tokens chosen at step t.
"""

# Shapes: N patches, B rows, G frames of a patch, C channels, V ids of a channel, D width of the
# patch decoder, U width of the code embeddings, P steps.

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.backbone import Transformer
from model.cache import KVCache
from model.linear import Linear
from model.spec import ModelSpec
from schemas.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchParts:
    """The modules of a model that make a patch; they stand at its top level in the checkpoint."""

    spec: ModelSpec
    transformer: Transformer
    heads: tuple[Linear, ...]
    tables: nn.ModuleList
    """Code embeddings, shared with the patch encoder."""
    to_local: Linear | None
    """From the width of the embeddings to the decoder's, where they differ."""

    def embed(self, channel: int, codes: Tensor) -> Tensor:
        """Embeddings of one channel's codes in the decoder's width."""
        embedded: Tensor = self.tables[channel](codes)
        return embedded if self.to_local is None else self.to_local(embedded)


def teacher_forced_logits(parts: PatchParts, local_ND: Tensor, codes_NGC: Tensor) -> list[Tensor]:
    """Logits of every channel, each `[N, G, V_c]`, given the codes that came before.

    `local_ND` is the downcast hidden state of the position before each patch. No id is masked: a
    loss over codes sees the logit of the empty code too.
    """
    spec = parts.spec
    steps, frames = spec.patch_steps, spec.group_size
    inputs_NPD = local_ND.new_zeros(local_ND.shape[0], steps, local_ND.shape[1])
    inputs_NPD[:, 0] = local_ND
    for channel, delay in enumerate(spec.delays):
        count = min(frames, steps - 1 - delay)  # the last step's tokens are nobody's input
        embedded = parts.embed(channel, codes_NGC[:, :count, channel])
        inputs_NPD[:, delay + 1 : delay + 1 + count] += embedded
    hidden_NPD = parts.transformer(inputs_NPD)
    return [
        head(hidden_NPD[:, delay : delay + frames])
        for head, delay in zip(parts.heads, spec.delays, strict=True)
    ]


class PatchSteps:
    """Patches for B rows at once, step by step, with a sampler in between.

        steps = model.patch_steps(batch_size)
        logits = steps.start(hidden_BD)           # channel -> [B, V_c]
        while logits:
            logits = steps.next({channel: choose(of) for channel, of in logits.items()})
        patch_BGC = steps.codes

    One object serves any number of patches of the same batch size; its memory is allocated once.
    The logit of a channel's empty code is -inf: it is never a token of a patch.
    """

    def __init__(self, parts: PatchParts, downcast: Linear, batch_size: int) -> None:
        self._parts = parts
        self._downcast = downcast
        weight = downcast.weight
        self._cache = KVCache(
            parts.transformer.spec,
            batch_size=batch_size,
            capacity=parts.spec.patch_steps,
            device=weight.device,
            dtype=weight.dtype,
        )
        self._codes_BGC = torch.zeros(
            (batch_size, parts.spec.group_size, parts.spec.num_channels),
            device=weight.device,
            dtype=torch.int64,
        )
        self._step = parts.spec.patch_steps

    @property
    def num_steps(self) -> int:
        return self._parts.spec.patch_steps

    @property
    def codes(self) -> Tensor:
        """The patch that was chosen, `[B, G, C]`: a copy, complete once `next` returned `{}`."""
        return self._codes_BGC.clone()

    def active_channels(self, step: int) -> list[int]:
        """Channels that choose a token at this step."""
        spec = self._parts.spec
        return [
            channel
            for channel, delay in enumerate(spec.delays)
            if delay <= step < delay + spec.group_size
        ]

    @torch.no_grad()
    def start(self, hidden_BD: Tensor) -> dict[int, Tensor]:
        """Begin a patch from the backbone's hidden state `[B, width]`; logits of step 0."""
        if hidden_BD.shape[0] != self._cache.batch_size:
            raise ModelError(
                f"{hidden_BD.shape[0]} hidden states for {self._cache.batch_size} rows; make "
                "patch_steps of that batch size"
            )
        self._cache.clear()
        self._step = 0
        return self._logits(self._downcast.of_rows(hidden_BD))

    @torch.no_grad()
    def next(self, tokens: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Take the tokens `[B]` of exactly the channels whose logits came last.

        Returns the logits of the next step's channels, `{}` after the last step.
        """
        wanted = self.active_channels(self._step)
        if sorted(tokens) != wanted:
            raise ModelError(
                f"step {self._step} of a patch got tokens of channels {sorted(tokens)}, wanted "
                f"{wanted}: one for each channel whose logits were returned"
            )
        spec = self._parts.spec
        x_BD: Tensor | None = None
        for channel in wanted:
            self._codes_BGC[:, self._step - spec.delays[channel], channel] = tokens[channel]
        self._step += 1
        if self._step == spec.patch_steps:
            return {}
        for channel in wanted:
            embedded = self._parts.embed(channel, tokens[channel])
            x_BD = embedded if x_BD is None else x_BD + embedded
        if x_BD is None:  # delays may leave a gap
            width = self._parts.transformer.spec.width
            x_BD = self._downcast.weight.new_zeros(self._cache.batch_size, width)
        return self._logits(x_BD)

    def _logits(self, x_BD: Tensor) -> dict[int, Tensor]:
        hidden_BD = self._parts.transformer(x_BD.unsqueeze(1), self._cache).squeeze(1)
        self._cache.advance([1] * self._cache.batch_size)
        logits = {}
        for channel in self.active_channels(self._step):
            of_channel_BV = self._parts.heads[channel].of_rows(hidden_BD)
            of_channel_BV[:, self._parts.spec.empty_codes[channel]] = float("-inf")
            logits[channel] = of_channel_BV
        return logits
