"""Finds the golden data: numbers computed by the original implementations.

`KERAS_DALLE_GOLDEN` names another folder of the same layout.
"""

import os
from pathlib import Path

import numpy as np

_DEFAULT_ROOT = Path(__file__).parent.parent / "data" / "golden"
ROOT = Path(os.environ.get("KERAS_DALLE_GOLDEN", _DEFAULT_ROOT))


def cases(kind: str) -> list[Path]:
    """The folders of one kind that hold a model, e.g. `cases("dallebart")`."""
    return sorted(path.parent for path in (ROOT / kind).glob("*/config.json"))


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
