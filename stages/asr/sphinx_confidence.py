"""How likely each word that pocketsphinx heard is right.

The decoder's own posteriors only compare the words it thought of. On Mandarin, on noise and on
music all of those are wrong, and it can be sure of one of them all the same. Three signs together
tell: the posterior, how well the frames fit the models (acoustic log-likelihood relative to the
best model of each hop), and how long the words are (an engine that hears a fan as "an" needs
seconds for it). Each sign is looked at for the word and as the mean over its segment.

The weights below are a logistic regression over 1,017 words decoded from 77 recordings: 32 of
English with exact transcripts, the rest other languages, noise and music, where every word counts
as wrong. Under 8-fold cross-validation by recording the area under the ROC curve is 0.90 for words
(right against wrong). For segments longer than 1.5 s, English against Mandarin 0.90, other
languages 0.96, noise 0.93, music 0.96; with the shortest ones in (digits of 0.3 s), English against
Mandarin 0.82. The intercept is moved so that over English the mean is the share of right words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LONG_WORD_HOPS = 60
"""Hops of 10 ms; few English words in fluent speech are longer than 0.6 s."""
_MIN_LOG_POSTERIOR = -8.0

_WORD_WEIGHTS = np.array([0.232, 0.596, -2.502])
_SEGMENT_WEIGHTS = np.array([1.799, 0.457, -11.705])
_INTERCEPT = 8.77


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word of the decoder's best path, fillers left out."""

    word: str
    start_hop: int
    end_hop: int
    """One past the last hop; hops are 10 ms."""
    acoustic_per_hop: float
    """Mean log-likelihood relative to the best model of each hop; 0 is a perfect fit."""
    log_posterior: float

    @property
    def num_hops(self) -> int:
        return self.end_hop - self.start_hop


def word_confidences(words: Sequence[HeardWord]) -> list[float]:
    """For each word the probability, 0 to 1, that it is what was said; see the file's head."""
    if not words:
        return []
    signs = np.array(
        [
            (
                word.acoustic_per_hop,
                max(word.log_posterior, _MIN_LOG_POSTERIOR),
                np.log(max(word.num_hops, _LONG_WORD_HOPS) / _LONG_WORD_HOPS),
            )
            for word in words
        ]
    )
    num_hops = np.array([word.num_hops for word in words], dtype=float)
    segment_signs = signs.mean(axis=0)
    # Long words are many hops of evidence, so the fit of a segment is a mean over hops.
    segment_signs[0] = np.average(signs[:, 0], weights=num_hops)
    logits = signs @ _WORD_WEIGHTS + segment_signs @ _SEGMENT_WEIGHTS + _INTERCEPT
    return [float(p) for p in 1.0 / (1.0 + np.exp(-np.clip(logits, -500, 500)))]
