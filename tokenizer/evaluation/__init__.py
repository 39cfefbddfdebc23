"""How good a tokenizer is: its round trip scored clip by clip, its codebooks counted."""

from tokenizer.evaluation.clips import ClipResult, Evaluation, evaluate
from tokenizer.evaluation.published import PUBLISHED, Published
from tokenizer.evaluation.scores import METRICS, Scorer, Scores
from tokenizer.evaluation.speaker import ENCODER_NAME

__all__ = [
    "ENCODER_NAME",
    "METRICS",
    "PUBLISHED",
    "ClipResult",
    "Evaluation",
    "Published",
    "Scorer",
    "Scores",
    "evaluate",
]
