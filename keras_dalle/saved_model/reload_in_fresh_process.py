"""Runs a SavedModel's signatures with nothing but TensorFlow.

Run by `verify.py` as a script of its own, `python reload_in_fresh_process.py PATH
INPUTS OUTPUTS`, so that no code of keras_dalle or Keras can lend the model an op or a
class: neither can be imported here. INPUTS and OUTPUTS are archives of arrays by
"signature/alias". Prints one JSON object, with where
each op of the graph comes from in `libraries`: null if from nowhere.
"""

import importlib.util
import json
import sys
from collections import defaultdict
from pathlib import Path

BLOCKED = ("keras", "keras_hub", "keras_nlp", "keras_dalle")
if __name__ == "__main__":
    sys.modules.update(dict.fromkeys(BLOCKED))  # type: ignore[arg-type]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.core.framework import tensor_pb2  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

# Not public: what is registered in this process, op by op.
from tensorflow.python.framework import kernels, op_def_registry  # noqa: E402


def main(path: str, inputs_file: str, outputs_file: str) -> None:
    libraries = find_libraries(ops_of(path))
    if all(libraries.values()):
        save_arrays(outputs_file, run_signatures(path, load_arrays(inputs_file)))
    print(json.dumps({"libraries": libraries, "modules": imported()}))


def ops_of(path: str) -> set[str]:
    content = (Path(path) / "saved_model.pb").read_bytes()
    graph_def = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].graph_def
    nodes = [graph_def.node, *(f.node_def for f in graph_def.library.function)]
    return {node.op for part in nodes for node in part}


def find_libraries(ops: set[str]) -> dict[str, str | None]:
    """What the stock server links: TensorFlow's core and tensorflow-text."""
    libraries: dict[str, str | None] = {}
    for library in ("core", "tensorflow_text"):
        if library == "tensorflow_text" and len(libraries) < len(ops):
            load_tensorflow_text()
        for op in sorted(ops - set(libraries)):
            if has_cpu_kernel(op):
                libraries[op] = library
    return {op: libraries.get(op) for op in sorted(ops)}


def has_cpu_kernel(op: str) -> bool:
    if op_def_registry.get(op) is None:
        return False
    registered = kernels.get_registered_kernels_for_op(op).kernel
    return bool({"CPU", "DEFAULT"} & {kernel.device_type for kernel in registered})


def load_tensorflow_text() -> None:
    """Its ops alone: the Python package imports Keras."""
    spec = importlib.util.find_spec("tensorflow_text")
    if spec is None or spec.origin is None:
        return
    for library in sorted(Path(spec.origin).parent.glob("python/ops/_*.so")):
        tf.load_op_library(str(library))


def save_arrays(file: str, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays, texts among them: as protos, since NumPy would pickle texts."""
    protos = {
        key: tf.make_tensor_proto(x).SerializeToString() for key, x in arrays.items()
    }
    packed = {key: np.frombuffer(proto, np.uint8) for key, proto in protos.items()}
    np.savez(file, **packed)  # type: ignore[arg-type]


def load_arrays(file: str) -> dict[str, np.ndarray]:
    """What `save_arrays` wrote."""
    with np.load(file) as archive:
        packed = {key: archive[key].tobytes() for key in archive.files}
    return {
        key: tf.make_ndarray(tensor_pb2.TensorProto.FromString(proto))
        for key, proto in packed.items()
    }


def run_signatures(path: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = tf.saved_model.load(path)
    rows: dict[str, dict] = defaultdict(dict)
    for key, x in inputs.items():
        signature, _, alias = key.partition("/")
        rows[signature][alias] = tf.constant(x)
    return {
        f"{signature}/{alias}": tensor.numpy()
        for signature, feeds in rows.items()
        for alias, tensor in model.signatures[signature](**feeds).items()
    }


def imported() -> list[str]:
    present = [name for name, module in sys.modules.items() if module is not None]
    return sorted({name.partition(".")[0] for name in present})


if __name__ == "__main__":
    main(*sys.argv[1:])
