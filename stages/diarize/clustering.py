"""Windows to speakers: clustering, assignment with inertia, linking of speakers across stretches.

Embeddings are unit vectors. Two speakers differ by half the squared distance between their mean
embeddings, which is the mean cosine distance across them less the mean distance within them. A
threshold on that holds for clear and noisy recordings alike; one on the distance across (average
linkage) does not: noise adds to it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

_RUN_DISTANCE = 0.35
"""Cosine distance of means up to which neighbours in time join into a run."""
_RUN_WINDOWS = 8
"""Longest run: 6.4 s. Longer ones swallow changes of speaker (DER 28 % instead of 17 % at 20 s)."""
_PRIOR_PAIRS = 8
"""Weight of the recording's typical distance within a speaker, in pairs of windows."""
_CHANCE = 0.8
"""How much two groups of one speaker differ by chance, in typical distances over their windows.
Without it 8 of 50 recordings of one speaker come out as two speakers, with it 1."""
_SAME_SPEAKER_SHARE = 0.8
"""Of neighbouring windows, so many at least are of one speaker; the rest may be changes."""


def unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1."""
    lengths: Floats = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return vectors / lengths


def find_speakers(
    embeddings: Floats, *, max_difference: float, min_windows: int, max_speakers: int, lag: int = 2
) -> Floats:
    """Mean embeddings of the speakers in a stretch, shape `[num_speakers, width]`, largest first.

    `embeddings` are unit vectors `[num_windows, width]` in order of time; windows fewer than `lag`
    apart share sound, so their distance says nothing. Neighbours are joined into short runs first,
    then runs into speakers. Groups of fewer than `min_windows` are no speakers of their own, unless
    there is nothing larger.
    """
    embeddings = embeddings.astype(np.float64)
    if embeddings.shape[0] <= lag:
        return embeddings.mean(axis=0, keepdims=True)
    runs = _runs(embeddings)
    labels = _merge_runs(embeddings, runs, lag, max_difference)
    names, counts = np.unique(labels, return_counts=True)
    by_size = np.lexsort((names, -counts))
    large = [names[i] for i in by_size if counts[i] >= min_windows][:max_speakers]
    large = large or [names[by_size[0]]]
    return np.stack([embeddings[labels == name].mean(axis=0) for name in large])


def _runs(embeddings: Floats) -> Ints:
    """Number of the run of every window: neighbours joined, the most similar first."""
    sums = list(embeddings)
    sizes = [1] * len(sums)

    def distance(left: int) -> float:
        if sizes[left] + sizes[left + 1] > _RUN_WINDOWS:
            return np.inf
        return 1.0 - float(unit(sums[left]) @ unit(sums[left + 1]))

    distances = [distance(i) for i in range(len(sums) - 1)]
    while distances:
        left = int(np.argmin(distances))
        if distances[left] > _RUN_DISTANCE:
            break
        sums[left] = sums[left] + sums.pop(left + 1)
        sizes[left] += sizes.pop(left + 1)
        distances.pop(left)
        for changed in (left - 1, left):
            if 0 <= changed < len(distances):
                distances[changed] = distance(changed)
    return np.repeat(np.arange(len(sizes)), sizes)


def _merge_runs(embeddings: Floats, runs: Ints, lag: int, max_difference: float) -> Ints:
    """Label of every window, after joining the least different groups as long as they are."""
    num = int(runs[-1]) + 1
    # Sums of similarities and numbers of pairs between groups; `far_*` leave out pairs of windows
    # that share sound. All of them add up when groups are joined.
    counts = np.bincount(runs, minlength=num).astype(np.float64)
    sums = np.zeros((num, embeddings.shape[1]))
    np.add.at(sums, runs, embeddings)
    similarity = sums @ sums.T
    far_similarity = similarity - np.diag(counts)
    far_pairs = np.outer(counts, counts) - np.diag(counts)
    for step in range(1, lag):
        near = np.einsum("nd,nd->n", embeddings[step:], embeddings[:-step])
        for one, other in ((runs[step:], runs[:-step]), (runs[:-step], runs[step:])):
            np.add.at(far_similarity, (one, other), -near)
            np.add.at(far_pairs, (one, other), -1.0)
    apart = 1.0 - np.einsum("nd,nd->n", embeddings[lag:], embeddings[:-lag])
    typical = float(apart[apart <= np.quantile(apart, _SAME_SPEAKER_SHARE)].mean())
    group = np.arange(num)
    alive = np.ones(num, bool)
    while alive.sum() > 1:
        pairs = np.diag(far_pairs)
        within = (pairs - np.diag(far_similarity) + _PRIOR_PAIRS * typical) / (pairs + _PRIOR_PAIRS)
        difference = 1.0 - similarity / np.outer(counts, counts)
        difference -= (within[:, None] + within[None, :]) / 2
        difference -= _CHANCE * typical * (1 / counts[:, None] + 1 / counts[None, :])
        difference[~alive] = difference[:, ~alive] = np.inf
        np.fill_diagonal(difference, np.inf)
        kept, gone = sorted(divmod(int(difference.argmin()), num))
        if difference[kept, gone] > max_difference:
            break
        for table in (similarity, far_similarity, far_pairs):
            table[kept] += table[gone]
            table[:, kept] += table[:, gone]
        counts[kept] += counts[gone]
        alive[gone] = False
        group[group == gone] = kept
    labels: Ints = group[runs]
    return labels


def follow_speakers(similarity: Floats, gaps_s: Floats, switch_penalty: float) -> Ints:
    """Best speaker of every cell, where changing the speaker costs.

    `similarity` has shape `[num_cells, num_speakers]`; `gaps_s[i]` is the silence before cell i,
    over which the cost of a change fades. The best path is Viterbi's.
    """
    num_cells, num_speakers = similarity.shape
    if num_cells == 0:
        return np.zeros(0, np.int64)
    score = similarity[0].astype(np.float64)
    came_from = np.zeros((num_cells, num_speakers), np.int64)
    stay = np.arange(num_speakers)
    for i in range(1, num_cells):
        switched = score.max() - switch_penalty * np.exp(-gaps_s[i] / 0.5)
        came_from[i] = np.where(score >= switched, stay, score.argmax())
        score = np.maximum(score, switched) + similarity[i]
    path = np.empty(num_cells, np.int64)
    path[-1] = score.argmax()
    for i in range(num_cells - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def link_speakers(
    means: Sequence[Floats], weights: Sequence[Floats], max_difference: float
) -> list[list[int]]:
    """One global number for every speaker of every stretch: the least different are linked first.

    `means[w]` has shape `[num_speakers_w, width]`; `weights[w]` holds how much each of them says.
    Two speakers of one stretch are never linked, nor two groups that share a stretch.
    """
    if not means:
        return []
    stretch = np.concatenate([np.full(len(rows), w) for w, rows in enumerate(means)])
    vectors = np.concatenate(means).astype(np.float64)
    mass = np.maximum(np.concatenate(weights).astype(np.float64), 1.0)  # some get no cell at all
    num = len(stretch)
    group = np.arange(num)
    alive = np.ones(num, bool)
    shared = stretch[:, None] == stretch[None, :]
    while True:
        squares = np.einsum("nd,nd->n", vectors, vectors)
        difference = (squares[:, None] + squares[None, :]) / 2 - vectors @ vectors.T
        difference[shared | ~alive[:, None] | ~alive[None, :]] = np.inf
        kept, gone = sorted(divmod(int(difference.argmin()), num))
        if not difference[kept, gone] <= max_difference:
            break
        total = mass[kept] + mass[gone]
        vectors[kept] = (vectors[kept] * mass[kept] + vectors[gone] * mass[gone]) / total
        mass[kept] = total
        shared[kept] |= shared[gone]
        shared[:, kept] = shared[kept]
        alive[gone] = False
        group[group == gone] = kept
    ends = np.cumsum([len(rows) for rows in means])[:-1]
    return [part.tolist() for part in np.split(group, ends)]
