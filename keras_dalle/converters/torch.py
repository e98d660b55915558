"""PyTorch checkpoints (.ckpt, .pt), read without running code and written.

A `.pt` file is a pickle. It is read by `torch.load(weights_only=True)`, which builds
tensors and plain containers and refuses everything else.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.torch_archive import check_archive
from keras_dalle.utils.atomic import atomic_file
from keras_dalle.utils.files import require_regular_file
from keras_dalle.utils.foreign_values import described, one_line, shortened

_MAX_TENSORS = 100_000

# PyTorch Lightning writes classes of its own beside the weights, such as the keys of
# the `callbacks` in taming-transformers' published files. They describe the training.
_TRAINING_STATE = ("pytorch_lightning.", "lightning.")

# === Reading ===


def open_torch_checkpoint(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """The tensors of a file that `torch.save` wrote.

    The file is mapped to memory where its format allows it, so that a tensor is read
    when it is asked for.

    Args:
        path: holds a dictionary of tensors, or one under the key `state_dict`.

    Returns:
        Name -> tensor, in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: PyTorch is not installed.
        ValueError: the file is truncated, is none of PyTorch's, holds code, or holds
            something else than tensors.
    """
    path = Path(path)
    content = _load(path)
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(
            f"{path} must hold a dictionary of tensors, or one under `state_dict`. "
            f"Received: {_describe(content)}."
        )
    if len(content) > _MAX_TENSORS:
        raise ValueError(
            f"{path} must hold at most {_MAX_TENSORS} tensors. Received: "
            f"{len(content)}."
        )
    return {name: _stored(path, name, value) for name, value in content.items()}


def import_torch() -> Any:
    """The module `torch`.

    Raises:
        ImportError: it is not installed; says how to install it.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "PyTorch's files (.ckpt, .pt) need PyTorch. Install it: "
            'pip install "keras-dalle[torch]"'
        ) from error
    return torch


def _load(path: Path) -> Any:
    torch = import_torch()
    require_regular_file(path)
    is_zip = check_archive(path)
    # What a damaged file raises is anybody's guess: RuntimeError, EOFError, KeyError,
    # UnpicklingError, UnicodeDecodeError and more.
    try:
        with torch.serialization.safe_globals(_stand_ins(path) if is_zip else []):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:
        raise ValueError(_complaint(path, error)) from error


def _complaint(path: Path, error: Exception) -> str:
    """What is wrong with the file; torch's own text advises to run the code in it."""
    text = str(error)
    code = re.search(r"GLOBAL (\S+)", text)
    if code:
        return (
            f"{path} holds code, which is never run here: {one_line(code[1])}. If the "
            "file is whole, ask its author for a file of tensors alone."
        )
    reason = re.search(r"WeightsUnpickler error:\s*(.+)", text)
    first_line = text.partition("\n")[0]
    return (
        f"{path} is damaged or not a checkpoint of PyTorch "
        f"({one_line(reason[1] if reason else first_line) or type(error).__name__}). "
        "Copy or download the file again."
    )


def _stand_ins(path: Path) -> list[tuple[type, str]]:
    """Empty classes for those that describe a training."""
    names = import_torch().serialization.get_unsafe_globals_in_checkpoint(path)
    return [
        (type("TrainingState", (), {}), name)
        for name in names
        if name.startswith(_TRAINING_STATE)
    ]


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return "an empty dictionary"
    return f"a {type(content).__name__}"


def _stored(path: Path, name: Any, tensor: Any) -> StoredTensor:
    torch = import_torch()
    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        raise ValueError(
            f"{path} must hold tensors alone, by name. Received: {shortened(name)} is "
            f"a {type(tensor).__name__}."
        )
    fault = _fault(tensor)
    if fault:
        raise ValueError(f"{path} must hold {fault} in {shortened(name)}.")
    # A scalar of the same dtype shows whether numpy has it.
    try:
        dtype = _to_numpy(torch.zeros((), dtype=tensor.dtype)).dtype
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path} must hold numbers that numpy has. Received: {shortened(name)} is "
            f"of {tensor.dtype}."
        ) from error
    return StoredTensor(
        tuple(tensor.shape), dtype, lambda: _array_of(path, name, tensor.detach())
    )


def _fault(tensor: Any) -> str | None:
    """Says why a tensor cannot be read as an array."""
    torch = import_torch()
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"dense tensors. Received: {tensor.layout}"
    if tensor.device.type != "cpu":
        return f"values. Received: a tensor on the device {tensor.device}"
    stored = tensor.untyped_storage().nbytes()
    nbytes = tensor.numel() * tensor.element_size()
    if nbytes > stored:
        return (
            "each number of a tensor once. Received: a tensor of "
            f"{nbytes} bytes with {stored} in the file,"
        )
    return None


def _array_of(path: Path, name: str, tensor: Any) -> np.ndarray:
    try:
        return _to_numpy(tensor)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path} must hold tensors that numpy can read. Received: "
            f"{shortened(name)} ({described(error)})."
        ) from error


def _to_numpy(tensor: Any) -> np.ndarray:
    torch = import_torch()
    if tensor.dtype == torch.bfloat16:
        bits = tensor.contiguous().view(torch.int16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    return tensor.numpy()


# === Writing ===


def write_torch_checkpoint(
    path: str | os.PathLike,
    tensors: Mapping[str, StoredTensor],
    key: str | None = None,
) -> None:
    """Writes tensors as `torch.save` does.

    Args:
        path: the file to write.
        tensors: name -> tensor.
        key: puts the dictionary of tensors under this key, e.g. `"state_dict"`.

    Raises:
        ImportError: PyTorch is not installed.
    """
    torch = import_torch()
    content: dict[str, Any] = {
        name: _to_torch(tensor.read()) for name, tensor in tensors.items()
    }
    with atomic_file(path) as file:
        torch.save(content if key is None else {key: content}, file)


def _to_torch(array: np.ndarray) -> Any:
    torch = import_torch()
    array = np.array(array, order="C")  # a copy: torch takes no read-only array
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
