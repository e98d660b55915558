"""Which dimension of which variable and activation lies on which axis of a mesh.

The rules are those of DALL·E Mega's training: columns of what reads the residual
stream, rows of what writes to it. They are data; `dtensor.py` applies them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BATCH = "batch"
MODEL = "model"

Axes = tuple[str | None, ...]


@dataclass(frozen=True)
class Rule:
    """Mesh axes of the dimensions of what a pattern finds.

    Attributes:
        pattern: regular expression, searched in a path.
        axes: a mesh axis or `None` for each dimension; dimensions after the last one
            are not sharded, so that `()` is replicated in any rank.
    """

    pattern: str
    axes: Axes


_COLUMNS = r"/(query|key|value|gate|intermediate)/"
_ROWS = r"/(attention_output|feed_forward_output)/"

# The first rule that is found counts.
DALLE_BART_VARIABLES = (
    Rule(r"(token|position)_embedding/embeddings$", (MODEL, None)),
    Rule(r"(token|position)_embedding/lora_embeddings_a$", (MODEL, None)),
    Rule(r"(token|position)_embedding/lora_embeddings_b$", ()),
    Rule(r"/position_bias/embeddings$", (None, MODEL)),
    Rule(_COLUMNS + r"(lora_)?kernel(_b)?$", (None, MODEL)),
    Rule(_COLUMNS + r"lora_kernel_a$", ()),
    Rule(_COLUMNS + r"bias$", (MODEL,)),
    Rule(_ROWS + r"(lora_)?kernel(_a)?$", (MODEL, None)),
    Rule(_ROWS + r"lora_kernel_b$", ()),
    Rule(_ROWS + r"bias$", ()),
    Rule(r"image_head/(lora_)?kernel(_b)?$", (None, MODEL)),
    Rule(r"image_head/lora_kernel_a$", ()),
    Rule(r"norm/(gamma|beta)$", ()),
    Rule(r"/head_factors/scale$", ()),
    Rule(r"seed_generator_state$", ()),
)

# Outputs of layers, by the layer's path. A layer without a rule gets what the
# operations before it lead to.
DALLE_BART_ACTIVATIONS = (
    Rule(r"shift_right$", (BATCH,)),
    Rule(r"(token|position)_embedding$", (BATCH,)),
    Rule(r"_embedding_norm$", (BATCH,)),
    Rule(_COLUMNS.rstrip("/") + "$", (BATCH, None, MODEL)),
    Rule(r"attention/weights_dropout$", (BATCH, MODEL)),
    Rule(r"/heads_norm$", (BATCH, None, MODEL)),
    Rule(r"/inside_norm$", (BATCH, None, MODEL)),
    Rule(_ROWS.rstrip("/") + "$", (BATCH,)),
    Rule(r"(encoder|decoder)_layer_\d+$", (BATCH,)),
    Rule(r"image_head$", (BATCH, None, MODEL)),
)


def axes_of_variable(rules: Sequence[Rule], path: str, rank: int) -> Axes:
    """The mesh axes of a variable's dimensions.

    Args:
        rules: in order; the first one that is found counts.
        path: of the variable.
        rank: its number of dimensions.

    Returns:
        A mesh axis or `None` for each dimension.

    Raises:
        ValueError: no rule is found, or it is for more dimensions.
    """
    axes = _first(rules, path)
    if axes is None:
        raise ValueError(
            f"Each variable needs a layout rule. Received: {path!r}, which none of the "
            f"{len(rules)} rules finds. Add `Rule({path!r}, ...)`, with `()` for a "
            "variable that each device holds whole."
        )
    return _filled(axes, path, rank)


def axes_of_activation(rules: Sequence[Rule], path: str, rank: int) -> Axes | None:
    """As `axes_of_variable` of a layer's output; `None` where no rule is found."""
    axes = _first(rules, path)
    return None if axes is None else _filled(axes, path, rank)


def _first(rules: Sequence[Rule], path: str) -> Axes | None:
    found = (rule.axes for rule in rules if re.search(rule.pattern, path))
    return next(found, None)


def _filled(axes: Axes, path: str, rank: int) -> Axes:
    if len(axes) > rank:
        raise ValueError(
            f"A rule must not have more axes than dimensions. Received: axes={axes} "
            f"for {path!r} of rank {rank}."
        )
    return axes + (None,) * (rank - len(axes))


def stored_shape(
    path: str,
    shape: Sequence[int],
    axes: Axes,
    mesh_shape: Mapping[str, int],
    pad_to_multiple_of: int | None = None,
) -> tuple[int, ...]:
    """The shape that a variable is stored in: sharded dimensions are divisible.

    Args:
        path: of the variable.
        shape: its logical shape.
        axes: a mesh axis or `None` for each dimension.
        mesh_shape: devices along each mesh axis.
        pad_to_multiple_of: sharded dimensions are filled up to a multiple of it;
            `None` keeps them.

    Raises:
        ValueError: a sharded dimension is not divisible by its mesh axis.
    """
    stored = []
    for size, axis in zip(shape, axes, strict=True):
        if axis is not None:
            if pad_to_multiple_of is not None:
                size += -size % pad_to_multiple_of
            devices = mesh_shape[axis]
            if size % devices:
                raise ValueError(
                    f"Dimensions {tuple(shape)} of {path!r} lie on the mesh axes "
                    f"{axes}: {size} must be divisible by {axis!r} (={devices}). "
                    f"Choose a mesh whose {axis!r} divides it, or "
                    f"`pad_to_multiple_of={devices}`."
                )
        stored.append(size)
    return tuple(stored)
