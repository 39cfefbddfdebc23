"""The weights a training run starts from: drawn, or those of a trained tokenizer."""

from pathlib import Path

import torch
from torch import Tensor

from schemas.errors import TrainingError
from tokenizer.checkpoint import load_model
from tokenizer.model import TokenizerModel
from tokenizer.spec import TokenizerSpec

_CENTRAL_LOG_MEL = -6.0  # about what speech has; taken off in the first convolution
_FINAL = ("out_proj.weight", "fc2.weight")


@torch.no_grad()
def new_model(spec: TokenizerSpec, seed: int) -> TokenizerModel:
    """A model whose rows keep about unit size: normal weights over the root of the fan-in.

    What a layer adds to its input is scaled down by the depth of its stack (GPT-2's rule).
    """
    model = TokenizerModel(spec)
    random = torch.Generator().manual_seed(seed)
    depths = {"encoder": spec.encoder, "decoder": spec.decoder, "vocoder": spec.vocoder}
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.ndim == 1:
            parameter.fill_(1.0)
        else:
            scale = parameter[0].numel() ** -0.5
            if name.endswith(_FINAL):
                stack = depths["vocoder" if "vocoder" in name else name.split(".")[0]]
                scale *= (2 * stack.num_layers) ** -0.5
            parameter.copy_(_normal(parameter, random) * scale)
        parameter.requires_grad_(True)
    bias = model.encoder.conv1.bias
    if bias is not None:
        bias.copy_(model.encoder.conv1.weight.sum(dim=(1, 2)) * -_CENTRAL_LOG_MEL)
    model.decoder.vocoder.head.istft.window.copy_(torch.hann_window(spec.fft_samples))
    return model


def trained_model(spec: TokenizerSpec, folder: Path) -> TokenizerModel:
    """The float32 model of a tokenizer's folder, to be trained further as the network `spec`.

    `TrainingError` where the folder's network is another; when its codebook entries are replaced
    (`threshold_ema_dead_code`) is a matter of training and may differ.
    """
    loaded, _ = load_model(folder, torch.device("cpu"), torch.float32)
    there, wanted = loaded.spec.to_config(), spec.to_config()
    different = sorted(
        key
        for key in there.keys() | wanted.keys()
        if key != "threshold_ema_dead_code" and there.get(key) != wanted.get(key)
    )
    if different:
        key = different[0]
        raise TrainingError(
            f"start_from: {folder} is another network: model.{key} is {wanted.get(key)!r} here and "
            f"{there.get(key)!r} there ({len(different)} keys differ); copy the model from its "
            "config.json"
        )
    model = TokenizerModel(spec)
    model.load_state_dict(loaded.state_dict())
    return model.requires_grad_(True)


def _normal(like: Tensor, random: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=random)
