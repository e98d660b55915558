"""Checks that an exported model stands on its own and holds nothing forbidden."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

from keras_dalle.saved_model import reload_in_fresh_process

# They call back into the process that traced them, so no server can run them.
PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"})
# They grow for a server's life, and let one request see another's words.
MUTABLE_TABLE_OPS = frozenset(
    {
        "MutableHashTable",
        "MutableHashTableV2",
        "MutableHashTableOfTensors",
        "MutableHashTableOfTensorsV2",
        "MutableDenseHashTable",
        "MutableDenseHashTableV2",
        "AnonymousMutableHashTable",
        "AnonymousMutableHashTableOfTensors",
        "AnonymousMutableDenseHashTable",
    }
)
# A floating constant of this size is a weight that escaped from the variables; others
# are vocabularies. saved_model.pb is one protobuf, of at most 2 GB.
MAX_FLOAT_CONSTANT_BYTES = 64 * 1024
MAX_CONSTANT_BYTES = 8 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """What was seen in a verified model.

    Attributes:
        ops: Names of all ops in the graph and its functions, sorted.
        image_shape: (H, W, C) of the picture made in the fresh process.
    """

    ops: tuple[str, ...]
    image_shape: tuple[int, ...]


def verify_saved_model(
    path: str | Path, prompt: str = "red heart"
) -> VerificationReport:
    """Checks the graph, then runs the model where only TensorFlow is imported.

    Args:
        path: A version's folder, as `export_saved_model` returns it.
        prompt: The prompt to draw in the fresh process.

    Raises:
        ValueError: The graph holds a Python op, a mutable table, a function that must
            be compiled by XLA, or a large constant; or the model does not run.
    """
    graph_def = _read_graph_def(Path(path))
    faults = list(find_faults(graph_def))
    if faults:
        raise ValueError(
            f"{path} cannot be served: " + "; ".join(faults) + ". Export it again "
            "without them."
        )
    report = _reload(Path(path), prompt)
    ops = sorted({node.op for node in _nodes(graph_def)})
    return VerificationReport(tuple(ops), tuple(report["image_shape"]))


def find_faults(graph_def: graph_pb2.GraphDef) -> Iterator[str]:
    """Texts for what TF Serving could not or should not run in `graph_def`."""
    for node in _nodes(graph_def):
        if node.op in PYTHON_OPS:
            yield f"Python op {node.op} ({node.name})"
        if node.op in MUTABLE_TABLE_OPS:
            yield f"mutable table {node.op} ({node.name})"
        if node.op == "Const":
            yield from _constant_faults(node)
    for function in graph_def.library.function:
        if function.attr["_XlaMustCompile"].b:
            yield f"jit function {function.signature.name}"


def _constant_faults(node: node_def_pb2.NodeDef) -> Iterator[str]:
    tensor = node.attr["value"].tensor
    is_floating = tf.dtypes.as_dtype(tensor.dtype).is_floating
    limit = MAX_FLOAT_CONSTANT_BYTES if is_floating else MAX_CONSTANT_BYTES
    if tensor.ByteSize() > limit:
        yield f"constant {node.name} of {tensor.ByteSize():,} bytes (limit {limit:,})"


def _nodes(graph_def: graph_pb2.GraphDef) -> Iterator[node_def_pb2.NodeDef]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _read_graph_def(path: Path) -> graph_pb2.GraphDef:
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((path / "saved_model.pb").read_bytes())
    return saved_model.meta_graphs[0].graph_def


def _reload(path: Path, prompt: str) -> dict:
    # -P: without it the script's own folder, this package, would be importable.
    command = [sys.executable, "-P", reload_in_fresh_process.__file__]
    result = subprocess.run(
        [*command, str(path), prompt], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise ValueError(
            f"{path} does not load with TensorFlow alone: {_last_line(result.stderr)}"
        )
    report = json.loads(_last_line(result.stdout))
    if report["error"]:
        raise ValueError(f"{path} refused a good row: {report['error']}")
    if "keras_dalle" in report["modules"]:
        raise ValueError(f"{path} needed keras_dalle to load.")
    return report


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
