"""Tables from our variables to a checkpoint's tensors, and the way along them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ml_dtypes  # noqa: F401  numpy knows "bfloat16" once this is imported
import numpy as np

from keras_dalle.converters.deferred import set_value
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.layers.narrow_weights import NarrowKernel

# === Tables ===


@dataclass(frozen=True)
class Transform:
    """A change of layout between a checkpoint's array and our variable.

    Attributes:
        load: checkpoint array -> our array.
        save: its inverse.
    """

    load: Callable[[np.ndarray], np.ndarray]
    save: Callable[[np.ndarray], np.ndarray]


SAME = Transform(load=lambda array: array, save=lambda array: array)


@dataclass(frozen=True)
class Rule:
    r"""One row of a mapping table.

    Attributes:
        variable: regular expression that matches a whole variable path of ours.
        tensor: the checkpoint's name for it; `\1` or `\g<name>` insert groups.
        transform: the layout change, `SAME` where both agree.
    """

    variable: str
    tensor: str
    transform: Transform = SAME


def tensor_names(
    variable_paths: Sequence[str], table: Sequence[Rule]
) -> dict[str, tuple[str, Rule]]:
    """Finds the checkpoint's name for each of our variables.

    Args:
        variable_paths: `variable.path` of each variable.
        table: rules in order; the first whose `variable` matches wins.

    Returns:
        variable path -> (tensor name, its rule).

    Raises:
        ValueError: a variable that no rule matches, by name.
    """
    names = {}
    unmatched = []
    for path in variable_paths:
        for rule in table:
            match = re.fullmatch(rule.variable, path)
            if match:
                names[path] = (match.expand(rule.tensor), rule)
                break
        else:
            unmatched.append(path)
    if unmatched:
        raise ValueError(
            "Every variable must match a rule of the mapping table. "
            f"Unmatched: {unmatched}. Add a rule for them."
        )
    return names


# === Loading ===


def assign_weights(
    model: Any,
    tensors: Mapping[str, StoredTensor | np.ndarray],
    table: Sequence[Rule],
    source: str = "",
    ignored: Sequence[str] = (),
    on_assigned: Callable[[str], None] | None = None,
) -> None:
    """Assigns a checkpoint's tensors to all of a built model's weights.

    Nothing is assigned unless everything fits. Then one tensor at a time is read,
    assigned and dropped; a deferred variable's (see `deferred_variables`) is read
    when its value is asked for.

    Args:
        model: a built `keras.Model` or layer.
        tensors: the checkpoint, name -> tensor.
        table: rules from variable paths to tensor names, first match wins.
        source: where the weights come from, for the error's text.
        ignored: regular expressions of whole names that may be in the checkpoint
            without being the model's.
        on_assigned: called with a tensor's name when it has been read.

    Raises:
        ValueError: naming all missing, unexpected and misshapen tensors, and those
            that do not hold floating point numbers.
    """
    stored = {name: _as_stored(tensor) for name, tensor in tensors.items()}
    variables = _weights_by_path(model)
    names = tensor_names(list(variables), table)
    faults = _faults(variables, names, stored, ignored)
    if any(faults.values()):
        raise ValueError(_message(faults, source))
    for path, (name, rule) in names.items():
        dtype = np.dtype(variables[path].dtype)
        place = f"{name} of {source}" if source else name
        read = partial(
            _read, name, stored[name], rule.transform, dtype, on_assigned, place
        )
        for variable, convert in _parts(variables[path]):
            set_value(variable, partial(_converted, read, convert))


def _weights_by_path(model: Any) -> dict[str, Any]:
    """Variables, and in place of a narrow kernel's variables that kernel."""
    kernels: dict[int, Any] = {}
    for layer in model._flatten_layers():
        kernel = getattr(layer, "narrow_kernel", None)
        for variable, _ in kernel.parts() if kernel else ():
            kernels[id(variable)] = kernel
    weights = (kernels.get(id(variable), variable) for variable in model.weights)
    return {weight.path: weight for weight in weights}


def _parts(weight: Any) -> list[tuple[Any, Callable[[np.ndarray], np.ndarray]]]:
    if isinstance(weight, NarrowKernel):
        return weight.parts()
    return [(weight, lambda array: array)]


def _converted(
    read: Callable[[], np.ndarray], convert: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    return convert(read())


def _read(
    name: str,
    tensor: StoredTensor,
    transform: Transform,
    dtype: np.dtype,
    on_assigned: Callable[[str], None] | None,
    place: str,
) -> np.ndarray:
    stored = tensor.read()
    with np.errstate(over="ignore"):
        array = np.asarray(transform.load(stored), dtype)
    if not np.isfinite(array).all():
        _refuse_values(place, stored, dtype)
    if on_assigned is not None:
        on_assigned(name)
    return array


def _refuse_values(place: str, stored: np.ndarray, dtype: np.dtype) -> None:
    if np.isfinite(stored).all():
        raise ValueError(
            f"Weights in {dtype.name} must be within its range. Received: {place} with "
            "larger ones. Load them in another dtype, e.g. bfloat16 or float32."
        )
    raise ValueError(
        f"Weights must be finite numbers. Received: NaN or an infinity in {place}. "
        "Take the file anew from where it was published."
    )


def _as_stored(tensor: StoredTensor | np.ndarray) -> StoredTensor:
    return tensor if isinstance(tensor, StoredTensor) else StoredTensor.of(tensor)


def _faults(
    variables: Mapping[str, Any],
    names: Mapping[str, tuple[str, Rule]],
    tensors: Mapping[str, StoredTensor],
    ignored: Iterable[str],
) -> dict[str, list[str]]:
    missing, misshapen, mistyped = [], [], []
    for path, (name, rule) in names.items():
        if name not in tensors:
            missing.append(f"{name} (for {path})")
            continue
        tensor = tensors[name]
        expected = tuple(variables[path].shape)
        received = _shape_after(rule.transform.load, tensor)
        if received != expected:
            received = tensor.shape if received is None else received
            misshapen.append(f"{name}: expected {expected}, received {received}")
        if not _is_floating(tensor.dtype):
            mistyped.append(f"{name}: {tensor.dtype.name}")
    expected_names = {name for name, _ in names.values()}
    unexpected = sorted(
        name
        for name in set(tensors) - expected_names
        if not any(re.fullmatch(pattern, name) for pattern in ignored)
    )
    return {
        "missing": missing,
        "unexpected": unexpected,
        "misshapen": misshapen,
        "not floating point": mistyped,
    }


def _shape_after(
    change: Callable[[np.ndarray], np.ndarray], tensor: StoredTensor
) -> tuple[int, ...] | None:
    """The shape in the other layout, or None where the tensor's does not allow it."""
    without_memory = np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape)
    try:
        return change(without_memory).shape
    except (ValueError, IndexError):
        return None


def _is_floating(dtype: np.dtype) -> bool:
    # ml_dtypes' bfloat16 is of numpy's kind "V".
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


def _message(faults: Mapping[str, list[str]], source: str) -> str:
    lines = [
        f"  {kind} ({len(names)}):\n    " + "\n    ".join(names)
        for kind, names in faults.items()
        if names
    ]
    where = f" of {source}" if source else ""
    return (
        f"The tensors{where} must be those of the model.\n" + "\n".join(lines) + "\n"
        "  Check that the configuration belongs to these weights."
    )


# === Saving ===


def model_tensors(model: Any, table: Sequence[Rule]) -> dict[str, StoredTensor]:
    """A built model's weights under a checkpoint's names and in its layout.

    Args:
        model: a built `keras.Model` or layer.
        table: as of `assign_weights`.

    Returns:
        The checkpoint; an array exists while its tensor is being written.

    Raises:
        ValueError: a variable without a rule, or one that two variables share.
    """
    variables = _weights_by_path(model)
    tensors: dict[str, StoredTensor] = {}
    for path, (name, rule) in tensor_names(list(variables), table).items():
        if name in tensors:
            raise ValueError(
                "A mapping table must give each variable a tensor of its own. "
                f"Received: {name} for {path} and for another one."
            )
        tensors[name] = _stored_variable(variables[path], rule.transform)
    return tensors


def _stored_variable(variable: Any, transform: Transform) -> StoredTensor:
    dtype = np.dtype(variable.dtype)
    ours = StoredTensor(tuple(variable.shape), dtype, lambda: np.asarray(variable))
    shape = _shape_after(transform.save, ours)
    if shape is None:
        raise ValueError(
            f"A mapping rule must be able to save {variable.path}. "
            f"Its shape: {ours.shape}."
        )
    return StoredTensor(shape, dtype, lambda: transform.save(ours.read()))
