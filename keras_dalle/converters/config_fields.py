"""Checks the fields of an original's configuration."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from keras_dalle.utils.foreign_values import shortened


def check_fields(
    config: Mapping[str, Any],
    required: Collection[str],
    optional: Collection[str],
    without_effect: Collection[str],
    notes: list[str] | None = None,
) -> None:
    """Raises unless all required fields are there, and none that is unknown.

    Args:
        config: the parsed configuration.
        required: fields that must be there.
        optional: fields with a default.
        without_effect: fields that the originals write and that change nothing here.
        notes: gets a sentence on those of `without_effect` that are there.

    Raises:
        ValueError: a field is missing, or unknown; names the nearest known one.
    """
    missing = sorted(set(required) - set(config))
    if missing:
        raise ValueError(
            f"The configuration must have the fields {shortened(missing)}. "
            f"Received: {shortened(sorted(config, key=str))}."
        )
    known = {*required, *optional, *without_effect}
    for field in config:
        if field not in known:
            # A name may be as long as the file.
            word = str(field)[:64]
            (nearest,) = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
            raise ValueError(
                f"Unknown field {shortened(field)} (={shortened(config[field])}) in "
                f"the configuration. Did you mean `{nearest}`? Remove the field if it "
                "has no effect on the network."
            )
    idle = [
        f"{name}={shortened(config[name])}" for name in config if name in without_effect
    ]
    if idle and notes is not None:
        notes.append(f"Without effect here: {', '.join(idle)}.")


def integer(name: str, value: Any) -> int:
    """`value`, which must be an integer above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {shortened(value)}."
        )
    return value


def number(name: str, value: Any) -> float:
    """`value` as a float; YAML reads 1e-8, which has no point, as a text."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be a number. Received: {shortened(value)}."
        ) from error


def choice(name: str, value: Any, kind: type) -> Any:
    """`value`, which must be of a plain type such as `bool` or `str`."""
    if not isinstance(value, kind):
        raise ValueError(
            f"`{name}` must be a {kind.__name__}. Received: {shortened(value)}."
        )
    return value
