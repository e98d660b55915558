"""Writes a task as a versioned SavedModel that TF Serving can poll."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_dalle.saved_model.signatures import ServingModule
from keras_dalle.saved_model.versions import list_versions

# Files that a disk, an object store and a network take in parallel; DALL·E Mega in
# float32 has eleven.
MAX_SHARD_BYTES = 2**30
MODEL_CONFIG = "assets.extra/model_config.json"


def export_saved_model(
    task: Any, directory: str | Path, version: int | None = None
) -> Path:
    """Writes `directory/<version>/`, whole or not at all.

    The model is written to a folder with a dot-name in `directory`, which servers
    that poll for integer names do not see, and then renamed.

    Args:
        task: A `DalleBartTextToImage`, or what `ServingModule` takes.
        directory: The model's base path, made if absent.
        version: A non-negative integer. Default: one above the highest present.

    Returns:
        The path of the version's folder.

    Raises:
        FileExistsError: `version` is there already.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / str(_choose_version(directory, version))
    staging = Path(tempfile.mkdtemp(prefix=".export-", dir=directory))
    try:
        # One folder deeper: mkdtemp's own is closed to other users.
        _write(task, staging / target.name)
        (staging / target.name).rename(target)
    finally:
        shutil.rmtree(staging)
    return target


def _choose_version(directory: Path, version: int | None) -> int:
    present = list_versions(directory)
    if version is None:
        return max(present, default=0) + 1
    if version < 0:
        raise ValueError(f"`version` must be at least 0. Received: {version}")
    if version in present:
        raise FileExistsError(
            f"A version is never overwritten, and {present[version]} exists. Choose "
            "another `version`, or leave it out for the next free one."
        )
    return version


def _write(task: Any, path: Path) -> None:
    module = ServingModule(task)
    sharding = tf.train.experimental.MaxShardSizePolicy(MAX_SHARD_BYTES)
    tf.saved_model.save(
        module,
        str(path),
        signatures=module.signatures,
        options=tf.saved_model.SaveOptions(experimental_sharding_callback=sharding),
    )
    config_path = path / MODEL_CONFIG
    config_path.parent.mkdir()
    config = keras.saving.serialize_keras_object(task)
    config_path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
