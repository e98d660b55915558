"""Checks that an exported model stands on its own and draws what memory draws."""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_dalle.saved_model import reload_in_fresh_process
from keras_dalle.saved_model.graph import nodes_of, read_meta_graph, signatures_of
from keras_dalle.saved_model.graph_rules import find_faults
from keras_dalle.saved_model.sample_rows import sample_rows
from keras_dalle.saved_model.signatures import ServingModule

NUM_ROWS = 2
# Texts, tokens and pixels must be equal. Of scores the last bits may differ.
TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class OperationUse:
    """An op of the graph: how many nodes it has, and which library has it."""

    op: str
    count: int
    library: str


@dataclasses.dataclass(frozen=True)
class SignatureCheck:
    """A signature whose outputs were those of memory.

    Attributes:
        name: of the signature.
        num_rows: of the request.
        num_faulty: rows that had a text in `error`, as in memory.
        compared: what was compared, by output: shape and dtype.
        max_difference: of floating outputs; 0 where there is none.
    """

    name: str
    num_rows: int
    num_faulty: int
    compared: Mapping[str, str]
    max_difference: float


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """What was seen in a verified model."""

    operations: tuple[OperationUse, ...]
    signatures: tuple[SignatureCheck, ...]


def verify_saved_model(
    path: str | Path, module: ServingModule, allow_jit: bool = False
) -> VerificationReport:
    """Checks the graph, then runs the model where only TensorFlow can be imported.

    Args:
        path: A version's folder, as `export_saved_model` returns it.
        module: What was exported. Each of its signatures is called here and there
            with the same rows.
        allow_jit: Whether functions may be compiled by XLA.

    Raises:
        ValueError: The graph breaks a rule of `graph_rules.py`, or has an op that the
            stock server lacks; or the model does not run, or gives something else.
    """
    path = Path(path)
    meta_graph = read_meta_graph(path)
    faults = find_faults(meta_graph.graph_def, allow_jit)
    if faults:
        raise ValueError("The model cannot be served.\n" + "\n".join(faults))
    signatures = signatures_of(meta_graph)
    inputs = {name: sample_rows(name, signatures, NUM_ROWS) for name in signatures}
    libraries, outputs = _reload(path, inputs)
    uses = Counter(node.op for _, node in nodes_of(meta_graph.graph_def))
    checks = [
        _compare(name, _run_in_memory(module, name, rows), outputs[name])
        for name, rows in inputs.items()
    ]
    return VerificationReport(
        tuple(OperationUse(op, n, libraries[op]) for op, n in sorted(uses.items())),
        tuple(checks),
    )


def _run_in_memory(module, name, rows):
    outputs = module.signatures[name](**{k: tf.constant(x) for k, x in rows.items()})
    return {alias: tensor.numpy() for alias, tensor in outputs.items()}


def _compare(name, expected, received) -> SignatureCheck:
    if set(expected) != set(received):
        raise ValueError(
            f"Signature {name} must have the outputs {sorted(expected)}. Received: "
            f"{sorted(received)}."
        )
    differences = [0.0]
    for alias, x in expected.items():
        y = received[alias]
        is_float = np.issubdtype(x.dtype, np.floating)
        same = x.shape == y.shape and (
            np.allclose(x, y, TOLERANCE, TOLERANCE) if is_float else np.all(x == y)
        )
        if not same:
            raise ValueError(
                f"Output {alias} of signature {name} must be what the model in memory "
                f"gives: {_describe(x)}. Received: {_describe(y)}. Report it, with the "
                "output of `keras-dalle doctor`."
            )
        if is_float and x.size:
            differences.append(float(np.max(np.abs(x - y))))
    errors = expected.get("error", np.array([], object))
    return SignatureCheck(
        name,
        NUM_ROWS,
        int(np.sum(errors != b"")),
        {alias: _kind(x) for alias, x in expected.items()},
        max(differences),
    )


def _describe(x: np.ndarray) -> str:
    return f"{_kind(x)} {str(x.ravel()[:8])[:200]}"


def _kind(x: np.ndarray) -> str:
    return f"{tf.dtypes.as_dtype(x.dtype).name} {list(x.shape)}"


def _reload(path: Path, inputs) -> tuple[dict[str, str], dict[str, dict]]:
    """Where the graph's ops come from, and the outputs by signature and alias."""
    arrays = {f"{s}/{a}": x for s, rows in inputs.items() for a, x in rows.items()}
    with tempfile.TemporaryDirectory() as folder:
        inputs_file, outputs_file = f"{folder}/inputs.npz", f"{folder}/outputs.npz"
        reload_in_fresh_process.save_arrays(inputs_file, arrays)
        report = _run_script(path, inputs_file, outputs_file)
        libraries = report["libraries"]
        if missing := [op for op, library in libraries.items() if library is None]:
            raise ValueError(
                "The graph must have only ops of the stock server: TensorFlow's, for a "
                f"CPU, and tensorflow-text's. Received: {', '.join(missing)}. Write "
                "them with TensorFlow's ops, or build a server that has them."
            )
        outputs: dict[str, dict] = {name: {} for name in inputs}
        for key, x in reload_in_fresh_process.load_arrays(outputs_file).items():
            signature, _, alias = key.partition("/")
            outputs[signature][alias] = x
    return libraries, outputs


def _run_script(path: Path, *files: str) -> dict:
    # -P: without it the script's own folder, this package, would be importable.
    command = [sys.executable, "-P", reload_in_fresh_process.__file__]
    result = subprocess.run(
        [*command, str(path), *files], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise ValueError(
            "The model must load and run with TensorFlow alone. Received: "
            f"{_last_line(result.stderr)}"
        )
    report = json.loads(_last_line(result.stdout))
    blocked = set(reload_in_fresh_process.BLOCKED) & set(report["modules"])
    if blocked:
        raise ValueError(
            "The model must load without Keras and keras_dalle. Received, among the "
            f"imported modules: {', '.join(sorted(blocked))}."
        )
    return report


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
