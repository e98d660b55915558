"""What TF Serving could not, or should not, run in a graph and in its functions."""

import dataclasses
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, node_def_pb2

from keras_dalle.saved_model.graph import nodes_of

PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
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
RANDOM_OPS = frozenset(
    {
        "AnonymousRandomSeedGenerator",
        "Multinomial",
        "NonDeterministicInts",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "RngReadAndSkip",
        "RngSkip",
        "StatefulRandomBinomial",
        "StatefulStandardNormal",
        "StatefulStandardNormalV2",
        "StatefulTruncatedNormal",
        "StatefulUniform",
        "StatefulUniformFullInt",
        "StatefulUniformInt",
        "TruncatedNormal",
    }
)
# A floating constant of this size is a weight that escaped from the variables; others
# are vocabularies. saved_model.pb is one protobuf, of at most 2 GB.
MAX_FLOAT_CONSTANT_BYTES = 2**16
MAX_CONSTANT_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Rule:
    """Ops that a served graph must not have.

    Attributes:
        ops: their names.
        requirement: the rule, and why it is one.
        remedy: what to do about it.
    """

    ops: frozenset[str]
    requirement: str
    remedy: str


RULES = (
    Rule(
        PYTHON_OPS,
        "no Python op, which runs only in the process that traced it",
        "Write it with TensorFlow's ops.",
    ),
    Rule(
        MUTABLE_TABLE_OPS,
        "no mutable table, which grows for a server's life and lets one request see "
        "another's words",
        "Use tf.lookup.StaticHashTable.",
    ),
    Rule(
        RANDOM_OPS,
        "no random op with a state, which draws other numbers for the same request",
        "Use the seed of the row, as keras_dalle.generation.random_numbers does.",
    ),
)


def find_faults(graph_def: graph_pb2.GraphDef, allow_jit: bool = False) -> list[str]:
    """A text for each rule that is broken, with the place and the remedy.

    Args:
        graph_def: The graph with its function library.
        allow_jit: Whether functions may be compiled by XLA, which the stock server
            does only with a flag.
    """
    faults = [
        f"The graph must have {rule.requirement}. Received: {node.op} "
        f"({_place(function, node)}). {rule.remedy}"
        for function, node in nodes_of(graph_def)
        for rule in RULES
        if node.op in rule.ops
    ]
    for function, node in nodes_of(graph_def):
        if node.op == "Const":
            faults += _constant_faults(function, node)
    if not allow_jit:
        faults += _jit_faults(graph_def)
    return faults


def jit_functions(graph_def: graph_pb2.GraphDef) -> list[str]:
    """Names of the functions that XLA must compile."""
    return [
        function.signature.name
        for function in graph_def.library.function
        if function.attr["_XlaMustCompile"].b
    ]


def _jit_faults(graph_def: graph_pb2.GraphDef) -> Iterator[str]:
    for name in jit_functions(graph_def):
        yield (
            "The graph must have no jit function: the stock server refuses to compile "
            f"unless it is told to. Received: {name}. Export with `jit` for a server "
            "that has the flag."
        )


def _constant_faults(function: str, node: node_def_pb2.NodeDef) -> Iterator[str]:
    tensor = node.attr["value"].tensor
    dtype = tf.dtypes.as_dtype(tensor.dtype)
    limit = MAX_FLOAT_CONSTANT_BYTES if dtype.is_floating else MAX_CONSTANT_BYTES
    if tensor.ByteSize() > limit:
        yield (
            f"A {dtype.name} constant must have at most {limit:,} bytes. Received: "
            f"{tensor.ByteSize():,} bytes ({_place(function, node)}). Make it a "
            "tf.Variable of the exported module, or a table."
        )


def _place(function: str, node: node_def_pb2.NodeDef) -> str:
    return f"node {node.name}" + (f" of function {function}" if function else "")
