"""Reads flax checkpoints (`flax_model.msgpack`) and assigns them to Keras models.

The format is that of `flax.serialization`: one msgpack map of maps whose leaves
are extension types. Nothing here needs flax, JAX or pickle.
"""

import mmap
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import msgpack
import numpy as np

# Extension codes of flax.serialization.
_EXT_NDARRAY = 1
_EXT_COMPLEX = 2
_EXT_SCALAR = 3
_CHUNKED_KEY = "__msgpack_chunked_array__"

Array = np.ndarray


# === Reading ===


def read_flax_msgpack(path: str | os.PathLike) -> dict[str, Array]:
    """Reads a flax msgpack file into a flat dictionary.

    The file is mapped, not loaded, so peak memory is the weights plus one tensor.

    Args:
        path: a file written by `flax.serialization.to_bytes` or
            `save_pretrained`.

    Returns:
        `{"model/encoder/embed_tokens/embedding": array, ...}`: the nested keys
        joined by "/", in the file's order. The arrays are read-only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, corrupt or not a map of arrays.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ValueError(_corrupt(path, "the file is empty"))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                tree = msgpack.unpackb(
                    data, ext_hook=_decode_extension, strict_map_key=True
                )
                if not isinstance(tree, dict):
                    raise ValueError(f"it holds a {type(tree).__name__}, not a map")
                return dict(_flatten(tree, prefix=""))
            except (ValueError, TypeError, msgpack.UnpackException) as error:
                reason = str(error) or type(error).__name__
                raise ValueError(_corrupt(path, reason)) from error


def _corrupt(path: str, reason: str) -> str:
    return (
        f"{path!r} is not a complete flax msgpack file: {reason}. "
        "Copy or download the file again."
    )


def _decode_extension(code: int, data: bytes) -> Array:
    if code in (_EXT_NDARRAY, _EXT_SCALAR):
        return _decode_array(data)
    if code == _EXT_COMPLEX:
        real, imaginary = msgpack.unpackb(data)
        return np.asarray(complex(real, imaginary))
    raise ValueError(f"unknown msgpack extension type {code}")


def _decode_array(data: bytes) -> Array:
    shape, dtype_name, buffer = msgpack.unpackb(data)
    dtype = _dtype(dtype_name)
    array = np.frombuffer(buffer, dtype) if buffer else np.empty(0, dtype)
    return array.reshape(shape)


def _dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        return np.dtype(ml_dtypes.bfloat16)
    dtype = np.dtype(name)
    if dtype.kind not in "biufc":
        raise ValueError(f"unsupported array type {name!r}")
    return dtype


def _flatten(tree: Mapping, prefix: str) -> Iterator[tuple[str, Array]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            if _CHUNKED_KEY in value:
                yield name, _join_chunks(value, name)
            else:
                yield from _flatten(value, prefix=f"{name}/")
        elif isinstance(value, np.ndarray | bool | int | float):
            yield name, np.asarray(value)
        else:
            raise ValueError(f"{name!r} is a {type(value).__name__}, not an array")


def _join_chunks(value: Mapping, name: str) -> Array:
    """Arrays over 2**30 bytes are stored as flat pieces: {"0": ..., "1": ...}."""
    try:
        shape = [value["shape"][str(i)] for i in range(len(value["shape"]))]
        chunks = [value["chunks"][str(i)] for i in range(len(value["chunks"]))]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{name!r} lacks a part of its chunked array") from error
    return np.concatenate(chunks).reshape(shape)


# === Mapping ===


@dataclass(frozen=True)
class Transform:
    """A change of layout between a checkpoint's array and our variable.

    Attributes:
        load: checkpoint array -> our array.
        save: its inverse.
    """

    load: Callable[[Array], Array]
    save: Callable[[Array], Array]


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


def assign_weights(
    model, weights: Mapping[str, Array], table: Sequence[Rule], source: str = ""
) -> None:
    """Assigns a checkpoint's tensors to all of a built model's weights.

    Nothing is assigned unless everything fits.

    Args:
        model: a built `keras.Model` or layer.
        weights: tensor name -> array, as from `read_flax_msgpack`.
        table: rules from variable paths to tensor names, first match wins.
        source: where the weights come from, for the error's text.

    Raises:
        ValueError: naming all missing, unexpected and misshapen tensors.
    """
    variables = {variable.path: variable for variable in model.weights}
    names = tensor_names(list(variables), table)
    arrays = {}
    missing, misshapen = [], []
    for path, (name, rule) in names.items():
        if name not in weights:
            missing.append(f"{name} (for {path})")
            continue
        array = _transformed(weights[name], rule)
        expected = tuple(variables[path].shape)
        if array is None or array.shape != expected:
            received = weights[name].shape if array is None else array.shape
            misshapen.append(f"{name}: expected {expected}, received {received}")
        else:
            arrays[path] = array
    unexpected = sorted(set(weights) - {name for name, _ in names.values()})
    _raise_if_any(source, missing, unexpected, misshapen)
    for path, array in arrays.items():
        variables[path].assign(np.asarray(array, dtype="float32"))


def _transformed(array: Array, rule: Rule) -> Array | None:
    """The array in our layout, or None where its shape does not allow that."""
    try:
        return rule.transform.load(array)
    except (ValueError, IndexError):
        return None


def _raise_if_any(
    source: str, missing: list[str], unexpected: list[str], misshapen: list[str]
) -> None:
    found = {
        "missing": missing,
        "unexpected": unexpected,
        "misshapen": misshapen,
    }
    if not any(found.values()):
        return
    lines = [
        f"  {kind} ({len(names)}):\n    " + "\n    ".join(names)
        for kind, names in found.items()
        if names
    ]
    where = f" of {source}" if source else ""
    raise ValueError(
        f"The tensors{where} must be those of the model.\n" + "\n".join(lines) + "\n"
        "  Check that the configuration belongs to these weights."
    )
