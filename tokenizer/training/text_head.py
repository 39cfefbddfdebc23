"""Audio to text: a small causal language model that continues the quantised frames with bytes.

It makes the codes keep what was said. It is trained with the tokenizer and thrown away after.
"""

# Shapes: B clips, L positions, T frames, D width of the frames, W width in here.

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokenizer.training.spec import TextSpec

_BYTES, _START, _END = 256, 256, 257
_MAX_POSITIONS = 1024
_IGNORED = -100


class TextHead(nn.Module):
    """Reads `[frames of a clip] START [UTF-8 bytes] END`, one sequence a clip."""

    def __init__(self, frame_width: int, spec: TextSpec) -> None:
        super().__init__()
        self.frame_in = nn.Linear(frame_width, spec.width)
        self.symbols = nn.Embedding(_BYTES + 2, spec.width)
        self.places = nn.Embedding(_MAX_POSITIONS, spec.width)
        nn.init.normal_(self.symbols.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            spec.width,
            spec.num_heads,
            4 * spec.width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, spec.num_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, clips: Sequence[tuple[Tensor, str]]) -> Tensor:
        """Mean cross entropy per byte, in nats, of clips given as frames `[T, D]` and text.

        A clip whose frames and text do not fit into 1,024 positions is left out; without any clip
        the loss is zero.
        """
        sequences, targets = [], []
        for frames_TD, text in clips:
            symbols = [_START, *text.encode(), _END]
            if frames_TD.shape[0] + len(symbols) - 1 > _MAX_POSITIONS:
                continue
            ids = torch.tensor(symbols, device=frames_TD.device)
            sequences.append(torch.cat([self.frame_in(frames_TD), self.symbols(ids[:-1])]))
            silent = ids.new_full((frames_TD.shape[0],), _IGNORED)
            targets.append(torch.cat([silent, ids[1:]]))
        if not sequences:
            # Every weight takes part, so that the optimizer has a state of each to save.
            return torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0.0
        x_BLW = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
        length = x_BLW.shape[1]
        x_BLW = x_BLW + self.places.weight[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=x_BLW.device)
        x_BLW = self.norm(self.layers(x_BLW, mask=mask, is_causal=True))
        wanted = nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=_IGNORED)
        asked = wanted != _IGNORED  # logits only where there is a byte to foretell
        logits = functional.linear(x_BLW[asked], self.symbols.weight)
        return functional.cross_entropy(logits.float(), wanted[asked])
