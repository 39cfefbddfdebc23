"""The bundled language model that the shards exist for."""

from model.mimo import MiMoAudio, ModelOutput
from model.prompt_ids import pad_prompts
from model.small import medium_spec, small_model, small_spec, untrained_model
from model.spec import ModelSpec
from model.special_tokens import SpecialTokens

__all__ = [
    "MiMoAudio",
    "ModelOutput",
    "ModelSpec",
    "SpecialTokens",
    "medium_spec",
    "pad_prompts",
    "small_model",
    "small_spec",
    "untrained_model",
]
