"""Retrieval: does a drawn picture come nearest to the true one of its prompt?"""

# Q drawn pictures, G true pictures, P = H * W * 3 values of a picture

import numpy as np

_QUERIES_AT_ONCE = 256


def rank_by_rgb_distance(
    images: np.ndarray, gallery: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Ranks each picture's target among all true pictures by RGB distance.

    The distance is Euclidean over all pixels. A true picture that is exactly as near
    as the target counts as nearer, so that one grey picture for every prompt gains
    nothing.

    Args:
        images: uint8 [Q, H, W, 3], drawn pictures.
        gallery: uint8 [G, H, W, 3], true pictures.
        targets: int [Q], each drawn picture's true one as index of the gallery.

    Returns:
        int64 [Q], from 1 (the target is the nearest) to G.

    Raises:
        ValueError: Shapes or types differ, or a target is out of range.
    """
    targets = np.asarray(targets)
    _check(images, gallery, targets)
    # float64: squared distances go up to 8e8 at 64 x 64 pixels, beyond the integers
    # that float32 can tell apart, and ties must be exact.
    gallery_GP = gallery.reshape(len(gallery), -1).astype(np.float64)
    norms_G = np.einsum("gp,gp->g", gallery_GP, gallery_GP)
    ranks = []
    for start in range(0, len(images), _QUERIES_AT_ONCE):
        chunk = slice(start, start + _QUERIES_AT_ONCE)
        images_QP = images[chunk].reshape(len(images[chunk]), -1).astype(np.float64)
        # The picture's own norm is the same for all of the gallery.
        distances_QG = norms_G - 2 * images_QP @ gallery_GP.T
        target_Q1 = np.take_along_axis(distances_QG, targets[chunk, None], axis=1)
        ranks.append(np.sum(distances_QG <= target_Q1, axis=1))
    return np.concatenate(ranks) if ranks else np.zeros(0, np.int64)


def top_k_accuracy(ranks: np.ndarray, k: int) -> float:
    """Returns the share of `ranks` (int [Q], from 1) that are at most `k`.

    Raises:
        ValueError: There are no ranks, or `k` is not positive.
    """
    if np.size(ranks) == 0 or k < 1:
        raise ValueError(
            "`ranks` must not be empty and `k` must be positive. "
            f"Received: {np.size(ranks)} ranks, k={k}"
        )
    return float(np.mean(np.asarray(ranks) <= k))


def _check(images: np.ndarray, gallery: np.ndarray, targets: np.ndarray) -> None:
    if images.shape[1:] != gallery.shape[1:] or images.ndim != 4:
        raise ValueError(
            "`images` and `gallery` must have shapes [Q, H, W, 3] and [G, H, W, 3]. "
            f"Received: {images.shape} and {gallery.shape}"
        )
    if images.dtype != np.uint8 or gallery.dtype != np.uint8:
        raise ValueError(
            "`images` and `gallery` must be uint8. "
            f"Received: {images.dtype} and {gallery.dtype}"
        )
    if targets.shape != (len(images),) or not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(
            f"`targets` must be integers [{len(images)}]. "
            f"Received: {targets.dtype} {targets.shape}"
        )
    if targets.size and not 0 <= targets.min() <= targets.max() < len(gallery):
        raise ValueError(
            f"`targets` must be in [0, {len(gallery)}). "
            f"Received: {targets.min()} to {targets.max()}"
        )
