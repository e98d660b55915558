"""Writes a task as a versioned SavedModel that TF Serving can poll."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_dalle.generation.compiled_steps import compiled_steps
from keras_dalle.models.dalle_bart.with_weights import with_weights
from keras_dalle.saved_model.card_file import XLA_FLAG
from keras_dalle.saved_model.model_card import model_card, write_model_card
from keras_dalle.saved_model.signatures import ServingModule
from keras_dalle.saved_model.versions import free_version
from keras_dalle.saved_model.warmup import (
    DEFAULT_BATCH_SIZES,
    check_batch_sizes,
    write_warmup_records,
)
from keras_dalle.utils.atomic import atomic_directory, refuse_existing
from keras_dalle.utils.writable import check_folder_place

# Files that a disk, an object store and a network take in parallel; DALL·E Mega in
# float32 has eleven.
MAX_SHARD_BYTES = 2**30
MODEL_CONFIG = "assets.extra/model_config.json"


def export_saved_model(
    task: Any,
    directory: str | Path,
    version: int | None = None,
    *,
    weights: str | None = None,
    warmup_batch_sizes: Sequence[int] = DEFAULT_BATCH_SIZES,
    preset: Mapping[str, Any] | None = None,
    jit: bool = False,
    check: Callable[[Path, ServingModule], object] | None = None,
) -> Path:
    """Writes `directory/<version>/`, whole or not at all.

    The model is written to a folder with a dot-name beside its place, which servers
    that poll for integer names do not see, and then renamed.

    Args:
        task: A `DalleBartTextToImage`, or what `ServingModule` takes.
        directory: The model's base path, made if absent.
        version: A non-negative integer. Default: one above the highest present.
        warmup_batch_sizes: Of the requests, one for each signature, that a server
            runs before others can use the version. None are more than its
            `max_batch_size`; () is no warm-up.
        preset: What the model card is to say of where the weights come from: `name`,
            `description`, `license` and what else is known.
        jit: Whether XLA compiles the decoder's step. The server then needs
            `XLA_FLAG`, without which it refuses to draw.
        check: Called with the written folder and what was exported, such as
            `verify_saved_model`, before the version appears. What it raises stops it.
        weights: `"float32"`, `"bfloat16"` or `"int8"`; default: as the task has them.

    Returns:
        The path of the version's folder.

    Raises:
        FileExistsError: `version` is there already.
        OSError: It cannot be written, or the disk is full.
        ValueError: A number is out of its range, or the check finds a fault.
    """
    check_batch_sizes(warmup_batch_sizes)
    if weights is not None:
        task = with_weights(task, weights)
    target = Path(directory) / str(free_version(directory, version))
    _export(task, target, warmup_batch_sizes, preset, jit, check)
    return target


def export_to_folder(task: Any, folder: str | Path) -> None:
    """Writes the SavedModel as `folder` itself, whole or not at all.

    `export_saved_model` writes a version's folder with it. For TF Serving, the folder's
    name must be a number.

    Args:
        task: A `DalleBartTextToImage`, or what `ServingModule` takes.
        folder: Where to write; its parents are made if absent.

    Raises:
        FileExistsError: `folder` is there already.
    """
    folder = Path(folder)
    check_folder_place(folder.parent)
    refuse_existing(folder)
    _export(task, folder, DEFAULT_BATCH_SIZES, preset=None, jit=False, check=None)


def _export(
    task: Any,
    target: Path,
    warmup_batch_sizes: Sequence[int],
    preset: Mapping[str, Any] | None,
    jit: bool,
    check: Callable[[Path, ServingModule], object] | None,
) -> None:
    # Saving traces again what has defaults.
    with _steps(jit):
        module = ServingModule(task)
    with _new_version(target) as path:
        with _steps(jit):
            _save(module, path)
        config = keras.saving.serialize_keras_object(task)
        _write_json(path / MODEL_CONFIG, config)
        write_warmup_records(path, warmup_batch_sizes)
        card = model_card(
            path,
            config,
            module,
            preset=preset,
            generation_defaults=task.generation_defaults,
            warmup_batch_sizes=warmup_batch_sizes,
            server_flags=[XLA_FLAG] if jit else [],
        )
        write_model_card(path, card)
        if check is not None:
            check(path, module)


def _steps(jit: bool) -> contextlib.AbstractContextManager:
    return compiled_steps() if jit else contextlib.nullcontext()


@contextlib.contextmanager
def _new_version(target: Path) -> Iterator[Path]:
    try:
        with atomic_directory(target) as path:
            yield path
    except FileExistsError as error:
        raise FileExistsError(
            f"A version is never overwritten, and {target} appeared meanwhile, by "
            "another export. Export again for the next free version."
        ) from error


def _save(module: ServingModule, path: Path) -> None:
    sharding = tf.train.experimental.MaxShardSizePolicy(MAX_SHARD_BYTES)
    tf.saved_model.save(
        module,
        str(path),
        signatures=module.signatures,
        options=tf.saved_model.SaveOptions(experimental_sharding_callback=sharding),
    )


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
