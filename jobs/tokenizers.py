"""Opens the tokenizer that a spec names; the only place that knows both pipeline and tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import EngineMissingError, SpecError
from schemas.job import TokenizeSpec

if TYPE_CHECKING:  # torch is heavy, and most commands open no tokenizer
    from tokenizer import Tokenizer

ENGINES = ("small", "mimo")


def check_device(device: str) -> None:
    """Raises unless this process can compute there."""
    import torch

    if device not in ("cpu", "cuda"):
        raise SpecError(f"device is {device!r}, wanted cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineMissingError(
            "device is cuda, and torch finds no GPU here; 'audiomill doctor' says why, or use cpu"
        )


def check_tokenizer(spec: TokenizeSpec) -> None:
    """Raises before anything starts when the tokenizer could not be opened on a worker."""
    if spec.engine not in ENGINES:
        raise SpecError(
            f"tokenize.engine: there is no tokenizer {spec.engine!r} (there are: "
            f"{', '.join(ENGINES)})"
        )
    if spec.engine == "small" and spec.model:
        raise SpecError("tokenize.model: 'small' is the bundled one; use engine: mimo for one")
    if spec.engine == "mimo":
        _check_folder(spec.model)


def open_tokenizer(spec: TokenizeSpec) -> "Tokenizer":
    """The tokenizer of a spec, weights loaded, on the spec's device."""
    import torch

    from tokenizer import Tokenizer as Released
    from tokenizer import TokenizerOptions, bundled_tokenizer

    options = TokenizerOptions(
        segment_hops=spec.segment_hops, reference_padding=spec.reference_padding
    )
    if spec.engine == "small":
        return bundled_tokenizer(spec.device, options=options)
    dtype = torch.bfloat16 if spec.device == "cuda" else torch.float32
    return Released.from_pretrained(
        str(spec.model), device=spec.device, dtype=dtype, options=options
    )


def _check_folder(model: str | None) -> None:
    if model is None:
        raise EngineMissingError(
            "tokenize.model: engine 'mimo' needs the folder of a released tokenizer "
            "(config.json, model.safetensors); download MiMo-Audio-Tokenizer and name its folder, "
            "or use engine: small"
        )
    missing = [
        name for name in ("config.json", "model.safetensors") if not (Path(model) / name).is_file()
    ]
    if missing:
        raise EngineMissingError(
            f"tokenize.model: {model!r} has no {' and no '.join(missing)}; download "
            "MiMo-Audio-Tokenizer there, or use engine: small"
        )
