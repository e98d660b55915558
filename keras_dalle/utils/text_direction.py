"""The order of a line's parts if they are read in both directions.

This is a small part of Unicode's bidirectional algorithm (UAX #9). It has no embedding
marks, which are removed from labels, and no signs of numbers.
"""

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_RIGHT_TO_LEFT = ("R", "AL")
_NUMBERS = ("EN", "AN")


def embedding_levels(clusters: Sequence[str]) -> list[int]:
    """Returns each cluster's level in a line. Odd levels are read from right to left.

    The line has the direction of its first letter.
    """
    classes = [_class(cluster) for cluster in clusters]
    base = next((kind for kind in classes if kind in ("L", "R")), "L")
    last = base
    for i, kind in enumerate(classes):
        if kind == "number" and last == "L":
            classes[i] = "L"
        elif kind in ("L", "R"):
            last = kind
    levels = {"L": 0 if base == "L" else 2, "R": 1, "number": 2}
    return [levels[kind or base] for kind in _with_neutrals(classes, base)]


def _with_neutrals(classes: Sequence[str | None], base: str) -> list[str | None]:
    """Gives neutral signs the direction of both neighbours, or else the line's.

    Numbers count as letters of the direction around them.
    """
    sides = ["R" if kind == "number" else kind for kind in classes]
    resolved = list(classes)
    for i, kind in enumerate(classes):
        if kind is None:
            before = next((side for side in reversed(sides[:i]) if side), base)
            after = next((side for side in sides[i:] if side), base)
            resolved[i] = before if before == after else base
    return resolved


def in_visual_order(parts: Sequence[tuple[int, T]]) -> list[T]:
    """Returns parts of a line with their levels, from left to right."""
    order = list(parts)
    levels = [level for level, _ in parts]
    for level in range(max(levels, default=0), 0, -1):
        start = 0
        while start < len(order):
            end = start
            while end < len(order) and order[end][0] >= level:
                end += 1
            order[start:end] = reversed(order[start:end])
            start = end + 1
    return [part for _, part in order]


def _class(cluster: str) -> str | None:
    kind = unicodedata.bidirectional(cluster[0])
    if kind in _RIGHT_TO_LEFT:
        return "R"
    if kind in _NUMBERS:
        return "number"
    return "L" if kind == "L" else None
