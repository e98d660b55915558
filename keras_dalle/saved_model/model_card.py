"""What an exported model is, for people and for programs, in its `assets.extra`."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

import keras_dalle
from keras_dalle.saved_model.card_file import CARD_JSON_FILE
from keras_dalle.saved_model.graph import read_meta_graph, signatures_of

CARD_FILE = Path("assets.extra") / "MODEL_CARD.md"


def model_card(
    path: Path,
    config: Mapping[str, Any],
    module: tf.Module,
    *,
    preset: Mapping[str, Any] | None = None,
    generation_defaults: Mapping[str, float],
    warmup_batch_sizes: Sequence[int] = (),
    server_flags: Sequence[str] = (),
) -> dict[str, Any]:
    """The card of the version in folder `path`, of plain values.

    Args:
        path: The version's folder, with its `saved_model.pb`.
        config: The task as Keras serializes it.
        module: What was exported; its variables are the model's.
        preset: What is known of the preset, its licence for one, or `None`.
        generation_defaults: By the parameters' names.
        warmup_batch_sizes: Of the warm-up requests.
        server_flags: What the server must be started with.
    """
    dtypes = Counter[str]()
    for variable in module.variables:
        dtypes[variable.dtype.name] += variable.shape.num_elements()
    signatures = signatures_of(read_meta_graph(path))
    return {
        "preset": dict(preset or {}),
        "architecture": _parts(config),
        "parameters": dict(dtypes),
        "generation_defaults": dict(generation_defaults),
        "signatures": {name: _signature(s) for name, s in signatures.items()},
        "warmup_batch_sizes": sorted(set(warmup_batch_sizes)),
        "server_flags": list(server_flags),
        "written_by": {
            "keras_dalle": keras_dalle.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def write_model_card(path: Path, card: Mapping[str, Any]) -> None:
    """Writes it into the version's folder, as JSON and as Markdown."""
    (path / CARD_FILE).parent.mkdir(exist_ok=True)
    text = json.dumps(card, indent=2, ensure_ascii=False)
    (path / CARD_JSON_FILE).write_text(text + "\n", encoding="utf-8")
    (path / CARD_FILE).write_text(as_markdown(card), encoding="utf-8")


def _parts(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The plain settings of the task and of each object that it is made of."""
    parts = {"task": {"class": config["class_name"], **_plain(config["config"])}}
    for name, part in config["config"].items():
        if isinstance(part, Mapping) and "class_name" in part:
            parts[name] = {"class": part["class_name"], **_plain(part["config"])}
    return parts


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    hidden = ("name", "trainable", "config_file")
    return {
        key: value
        for key, value in config.items()
        if key not in hidden and isinstance(value, str | int | float | bool)
    }


def _signature(signature: meta_graph_pb2.SignatureDef) -> dict[str, dict]:
    inputs = {alias: _tensor(info) for alias, info in sorted(signature.inputs.items())}
    for alias, proto in signature.defaults.items():
        (default,) = tf.make_ndarray(proto).tolist()
        if isinstance(default, bytes):
            default = default.decode("utf-8", "replace")
        inputs[alias]["default"] = default
    outputs = {a: _tensor(info) for a, info in sorted(signature.outputs.items())}
    return {"inputs": inputs, "outputs": outputs}


def _tensor(info: meta_graph_pb2.TensorInfo) -> dict[str, Any]:
    shape = info.tensor_shape
    dims = [None if dim.size < 0 else dim.size for dim in shape.dim]
    return {
        "dtype": tf.dtypes.as_dtype(info.dtype).name,
        "shape": None if shape.unknown_rank else dims,
    }


def as_markdown(card: Mapping[str, Any]) -> str:
    """The card as a document."""
    preset = card["preset"]
    lines = [f"# {preset.get('name', card['architecture']['task']['class'])}", ""]
    if "description" in preset:
        lines += [preset["description"], ""]
    lines += [
        f"Licence: {preset.get('license', 'the preset states none')}.",
        "Draws pictures from texts. Made with "
        + ", ".join(f"{name} {v}" for name, v in card["written_by"].items())
        + ".",
        "",
    ]
    length = card["architecture"].get("preprocessor", {}).get("max_text_length")
    if length is not None:
        lines += [
            f"A prompt is read up to {length} tokens, `<s>` and `</s>` among them. The "
            "rest of a longer prompt is left out, and `error` stays empty.",
            "",
        ]
    if card["server_flags"]:
        flags = " ".join(f"`{flag}`" for flag in card["server_flags"])
        lines += [f"The server must be started with {flags}.", ""]
    lines += _section("Preset", preset)
    for name, part in card["architecture"].items():
        lines += _section(f"Architecture: {name}", part)
    lines += _section("Parameters by dtype", card["parameters"])
    lines += _section("Defaults of generation", card["generation_defaults"])
    for name, signature in card["signatures"].items():
        lines += _signature_section(name, signature)
    sizes = ", ".join(map(str, card["warmup_batch_sizes"])) or "none"
    lines += [f"Batch sizes of the warm-up requests: {sizes}.", ""]
    return "\n".join(lines)


def _section(title: str, values: Mapping[str, Any]) -> list[str]:
    if not values:
        return []
    rows = [f"| {_cell(key)} | {_cell(value)} |" for key, value in values.items()]
    return [f"## {title}", "", "| | |", "|---|---|", *rows, ""]


def _signature_section(name: str, signature: Mapping[str, dict]) -> list[str]:
    rows = [
        f"| {kind} | `{alias}` | {tensor['dtype']} | {_shape(tensor['shape'])} | "
        f"{_cell(repr(tensor['default'])) if 'default' in tensor else ''} |"
        for kind, tensors in (
            ("input", signature["inputs"]),
            ("output", signature["outputs"]),
        )
        for alias, tensor in tensors.items()
    ]
    head = ["| | | dtype | shape | default |", "|---|---|---|---|---|"]
    return [f"## Signature `{name}`", "", *head, *rows, ""]


def _shape(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "any"
    return "[" + ", ".join("B" if dim is None else str(dim) for dim in shape) + "]"


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
