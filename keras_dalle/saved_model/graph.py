"""A SavedModel's graph, read from its file without loading it."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

INIT_SIGNATURE = "__saved_model_init_op"


def read_meta_graph(path: str | Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph and the signatures of the version in folder `path`.

    Raises:
        ValueError: `saved_model.pb` is damaged.
        OSError: It cannot be read.
    """
    file = Path(path) / "saved_model.pb"
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        (meta_graph,) = saved_model.meta_graphs
    except (DecodeError, ValueError) as error:
        raise ValueError(
            f"{file} must be a SavedModel of one graph. Export it again. {error}"
        ) from error
    return meta_graph


def signatures_of(
    meta_graph: meta_graph_pb2.MetaGraphDef,
) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures that clients may call, `serving_default` first."""
    names = sorted(meta_graph.signature_def, key=lambda n: (n != "serving_default", n))
    return {n: meta_graph.signature_def[n] for n in names if n != INIT_SIGNATURE}


def nodes_of(
    graph_def: graph_pb2.GraphDef,
) -> Iterator[tuple[str, node_def_pb2.NodeDef]]:
    """All nodes, each with the name of its function, "" for the graph's own."""
    for node in graph_def.node:
        yield "", node
    for function in graph_def.library.function:
        for node in function.node_def:
            yield function.signature.name, node
