"""The peer of `benchmarks.generation`: greedy generation from `forward`, keeping nothing."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import MiMoAudio
from model.generate import Request


def plain_loop(model: MiMoAudio, request: Request) -> np.ndarray[Any, Any]:
    """New ids `[1 + C, T]`: all positions so far are run through the model for each group."""
    spec, empty = model.spec, model.special_tokens.empty
    ids = torch.from_numpy(request.prompt)
    start = ids.shape[1]
    with torch.inference_mode():
        for _ in range(request.max_new or 0):
            output = model(ids.unsqueeze(0))
            text = output.text_logits[0, -1].argmax()
            codes_GC = torch.tensor(spec.empty_codes).expand(spec.group_size, -1)
            if int(text) == empty:
                codes_GC = plain_patch(model, output.hidden[:, -1])
            group = torch.cat([text.expand(1, spec.group_size), codes_GC.T])
            ids = torch.cat([ids, group], dim=1)
    return ids[:, start:].numpy()


def plain_patch(model: MiMoAudio, hidden_1D: Tensor) -> Tensor:
    """One greedy patch `[G, C]`: all steps so far are run through the decoder for each step."""
    spec = model.spec
    codes_GC = torch.zeros((spec.group_size, spec.num_channels), dtype=torch.int64)
    inputs = model.hidden_states_downcast(hidden_1D).unsqueeze(1)
    for step in range(spec.patch_steps):
        hidden = model.local_transformer(inputs)[:, -1]
        following = torch.zeros_like(hidden)
        for channel, delay in enumerate(spec.delays):
            if delay <= step < delay + spec.group_size:
                logits = model.local_transformer_lm_heads[channel](hidden)
                logits[:, spec.empty_codes[channel]] = float("-inf")
                token = logits.argmax(dim=-1)
                codes_GC[step - delay, channel] = token[0]
                following = following + model.speech_embeddings[channel](token)
        inputs = torch.cat([inputs, following.unsqueeze(1)], dim=1)
    return codes_GC
