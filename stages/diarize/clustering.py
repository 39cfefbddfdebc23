"""Windows to speakers: clustering, assignment with inertia, linking of speakers across stretches.

Embeddings have unit length; distances are cosine distances (0 equal, 1 unrelated).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


def unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1."""
    lengths: Floats = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return vectors / lengths


def find_speakers(
    embeddings: Floats, *, max_distance: float, min_windows: int, max_speakers: int
) -> Floats:
    """Centroids of the speakers in a stretch, shape `[num_speakers, width]`, largest first.

    Average linkage; costs 8 * n^2 bytes, so the caller bounds n. Clusters of fewer than
    `min_windows` are no speakers of their own, unless there is nothing larger.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    embeddings = embeddings.astype(np.float64)
    if embeddings.shape[0] < 2:
        return unit(embeddings)
    tree = linkage(pdist(embeddings, "cosine"), "average")
    labels = fcluster(tree, max_distance, "distance")
    names, counts = np.unique(labels, return_counts=True)
    by_size = np.lexsort((names, -counts))
    large = [names[i] for i in by_size if counts[i] >= min_windows][:max_speakers]
    large = large or [names[by_size[0]]]
    return unit(np.stack([embeddings[labels == name].mean(axis=0) for name in large]))


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
    centroids: Sequence[Floats], weights: Sequence[Floats], min_similarity: float
) -> list[list[int]]:
    """One global number for every speaker of every stretch: the most similar ones are linked first.

    `centroids[w]` has shape `[num_speakers_w, width]`; `weights[w]` holds their seconds. Two
    speakers of one stretch are never linked, nor two groups that share a stretch.
    """
    groups = [
        ({stretch}, [(stretch, index)], centroid * weight)
        for stretch, (rows, seconds) in enumerate(zip(centroids, weights, strict=True))
        for index, (centroid, weight) in enumerate(zip(rows, seconds, strict=True))
    ]
    while True:
        best: tuple[float, int, int] | None = None
        for a in range(len(groups)):
            for b in range(a + 1, len(groups)):
                if groups[a][0] & groups[b][0]:
                    continue
                similarity = float(unit(groups[a][2]) @ unit(groups[b][2]))
                if similarity >= min_similarity and (best is None or similarity > best[0]):
                    best = similarity, a, b
        if best is None:
            break
        _, a, b = best
        groups[a] = (
            groups[a][0] | groups[b][0],
            groups[a][1] + groups[b][1],
            groups[a][2] + groups[b][2],
        )
        del groups[b]
    numbers = [[0] * len(rows) for rows in centroids]
    for number, (_, members, _) in enumerate(groups):
        for stretch, index in members:
            numbers[stretch][index] = number
    return numbers
