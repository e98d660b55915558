"""Finds the golden data: numbers computed by the original implementations.

`KERAS_DALLE_GOLDEN` names another folder of the same layout.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_DEFAULT_ROOT = Path(__file__).parent.parent / "data" / "golden"
ROOT = Path(os.environ.get("KERAS_DALLE_GOLDEN", _DEFAULT_ROOT))
IS_REPOSITORYS_SET = ROOT == _DEFAULT_ROOT
if not any(ROOT.glob("*/**/*")):
    raise FileNotFoundError(f"There is no golden data in {ROOT}.")


def cases(kind: str) -> list[Path]:
    """The folders of one kind that hold a model, e.g. `cases("dallebart")`."""
    return sorted(path.parent for path in (ROOT / kind).glob("*/config.json"))


def check_found(found) -> None:
    """Fails if the repository's own set lacks a kind; another set may lack some."""
    assert found or not IS_REPOSITORYS_SET


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def assert_as_exact_as(ours32, ours64, golden, name: str) -> None:
    """Our float32 result against the original's.

    The tolerance is 2e-5, or four times what float32 itself costs us where that is
    more: the distance of our float32 from our float64 result.

    Args:
        ours32: our result in float32.
        ours64: the same computed in float64.
        golden: the original's result, in float32.
        name: of the tensor, for the error's text.
    """
    assert np.shape(ours32) == golden.shape, name
    error, tolerance = error_and_tolerance(ours32, ours64, golden)
    assert error <= tolerance, f"{name}: error {error:.2e} > {tolerance:.2e}"


def error_and_tolerance(ours32, ours64, golden, scale=1.0, more32=()):
    """What `assert_as_exact_as` compares.

    Args:
        ours32, ours64, golden: as there.
        scale: what errors are relative to, e.g. the largest entry of a gradient.
        more32: further float32 results that are equal in exact arithmetic, so that
            the cost of float32 does not rest on a single rounding.
    """
    ours32, ours64, golden = (
        np.asarray(x, "float64") for x in (ours32, ours64, golden)
    )
    own_error = max(_distance(x, ours64) for x in (ours32, *more32)) / scale
    return _distance(ours32, golden) / scale, max(2e-5, 4 * own_error)


@contextmanager
def neighbouring_weights(model, seed: int) -> Iterator[None]:
    """Weights are off by half a unit of their last place in the block."""
    rng = np.random.default_rng(seed)
    weights = model.get_weights()
    half_units = [rng.choice([-6e-8, 6e-8], weight.shape) for weight in weights]
    model.set_weights(
        [
            (w * (1 + h)).astype(w.dtype)
            for w, h in zip(weights, half_units, strict=True)
        ]
    )
    try:
        yield
    finally:
        model.set_weights(weights)


def _distance(a, b) -> float:
    return float(np.max(np.abs(a - b), initial=0.0))
