"""From a checkpoint folder of any format to one of any other."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_dalle.converters.dalle_bart import CONFIG_FILE, save_dalle_bart
from keras_dalle.converters.dalle_bart_config import (
    config_from_original,
    original_from_backbone,
)
from keras_dalle.converters.min_dalle import save_min_dalle
from keras_dalle.converters.originals import recognise
from keras_dalle.converters.presets import PREPROCESSOR_FILE, is_preset
from keras_dalle.converters.tokenizer_files import is_tokenizer_folder, save_tokenizer
from keras_dalle.converters.vqgan import SAVERS as VQGAN_SAVERS
from keras_dalle.models import (
    DalleBartBackbone,
    DalleBartTextToImage,
    DalleBartTextToImagePreprocessor,
    DalleBartTokenizer,
    VQGANBackbone,
)
from keras_dalle.utils.file_errors import naming_files
from keras_dalle.utils.files import read_json
from keras_dalle.utils.foreign_values import naming

FORMATS = ("keras", *VQGAN_SAVERS)

# Beside a converted backbone: the configuration that it came with, so that the way
# back gives the same one.
ORIGINAL_CONFIG_FILE = "original_config.json"
VQGAN_FOLDER = "vqgan"


@dataclass(frozen=True)
class Checkpoint:
    """What a folder held.

    Attributes:
        model: the Keras object that the folder is about.
        backbone: the model's, or the model itself.
        vqgan: the same.
        preprocessor: made of the tokenizer beside a backbone.
        original_config: the backbone's configuration as the original wrote it.
    """

    model: DalleBartTextToImage | DalleBartBackbone | VQGANBackbone | DalleBartTokenizer
    backbone: DalleBartBackbone | None = None
    vqgan: VQGANBackbone | None = None
    preprocessor: DalleBartTextToImagePreprocessor | None = None
    original_config: Mapping[str, Any] | None = None


# === Reading ===


def read_checkpoint(
    directory: str | os.PathLike,
    vqgan_directory: str | os.PathLike | None = None,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    choice: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Checkpoint:
    """Reads a folder of any known format, with the tokenizer that lies in it.

    Args:
        directory: the folder.
        vqgan_directory: a folder with the VQGAN of a DALL·E mini in `directory`; both
            and the tokenizer become a task.
        notes: gets sentences on what was read and has no effect.
        on_assigned: called with each tensor's name when it has been assigned.
        choice: `config` and `weights`, the files to read where taming-transformers'
            folder has several.
        **kwargs: of the model's class, e.g. `dtype`.

    Raises:
        NotADirectoryError: there is no such folder.
        ValueError: it is of no known format, damaged, or what it holds does not fit
            together.
    """
    directory = Path(directory)
    known = recognise(directory)
    own, of_vqgan = _choices(known.has_choice, vqgan_directory, choice)
    with naming_files(directory, known.name):
        model = known.load(
            directory, notes=notes, on_assigned=on_assigned, **own, **kwargs
        )
    if isinstance(model, DalleBartTextToImage):
        checkpoint = Checkpoint(
            model,
            model.backbone,
            model.vqgan,
            model.preprocessor,
            _config(directory, model.backbone),
        )
    elif isinstance(model, DalleBartBackbone):
        preprocessor = _preprocessor(directory, model)
        checkpoint = Checkpoint(
            model, model, None, preprocessor, original_config=_config(directory, model)
        )
    elif isinstance(model, VQGANBackbone):
        checkpoint = Checkpoint(model, vqgan=model)
    else:
        checkpoint = Checkpoint(model)
    if vqgan_directory is None:
        return checkpoint
    vqgan = read_checkpoint(vqgan_directory, notes=notes, choice=of_vqgan).vqgan
    return _with_vqgan(checkpoint, directory, vqgan, vqgan_directory)


def _choices(
    has_choice: bool,
    vqgan_directory: str | os.PathLike | None,
    choice: Mapping[str, Any] | None,
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Splits `choice` into the part for the folder and the part for the VQGAN's."""
    if not choice or has_choice:
        return choice or {}, {}
    if vqgan_directory is None:
        raise ValueError(
            "`config` and `weights` must choose files of a taming-transformers folder. "
            f"Received: {', '.join(choice)} for a folder of another format."
        )
    return {}, choice


def _config(directory: Path, backbone: DalleBartBackbone) -> Mapping[str, Any] | None:
    """Returns the configuration in the original's fields, if there is one."""
    path = directory / (ORIGINAL_CONFIG_FILE if is_preset(directory) else CONFIG_FILE)
    config = read_json(path) if path.exists() else None
    if not isinstance(config, dict) or config.get("model_type") != "dallebart":
        return None
    with naming(path):
        ours = config_from_original(config)
    own = backbone.get_config()
    others = [name for name, x in ours.items() if type(x) is int and own[name] != x]
    if others:
        raise ValueError(
            f"{path} must be the configuration of the model beside it. Received: "
            f"another {', '.join(others)}. Remove the file, or convert the original "
            "again."
        )
    return config


def _preprocessor(
    directory: Path, backbone: DalleBartBackbone
) -> DalleBartTextToImagePreprocessor | None:
    if is_preset(directory):
        has_one = (directory / PREPROCESSOR_FILE).exists()
        preprocessor_class = DalleBartTextToImagePreprocessor
        return preprocessor_class.from_preset(directory) if has_one else None
    if not is_tokenizer_folder(directory):
        return None
    # min-dalle's folder does not say the length; the model's tensors do.
    return DalleBartTextToImagePreprocessor.from_original(
        directory, max_text_length=backbone.max_text_length
    )


def _with_vqgan(
    checkpoint: Checkpoint,
    directory: Path,
    vqgan: VQGANBackbone | None,
    vqgan_directory: str | os.PathLike,
) -> Checkpoint:
    if checkpoint.backbone is None or checkpoint.preprocessor is None:
        raise ValueError(
            "A VQGAN makes a task of a DALL·E mini that has its tokenizer's files "
            f"beside it. Received: {directory} with a "
            f"{type(checkpoint.model).__name__} "
            f"{'and no tokenizer' if checkpoint.backbone else ''}."
        )
    if vqgan is None:
        raise ValueError(f"There must be a VQGAN in {os.fspath(vqgan_directory)}.")
    task = DalleBartTextToImage(
        checkpoint.backbone, checkpoint.preprocessor, vqgan=vqgan
    )
    return Checkpoint(
        task,
        checkpoint.backbone,
        vqgan,
        checkpoint.preprocessor,
        checkpoint.original_config,
    )


# === Writing ===


def write_checkpoint(
    checkpoint: Checkpoint,
    directory: Path,
    form: str = "keras",
    notes: list[str] | None = None,
) -> None:
    """Writes what `read_checkpoint` read.

    Args:
        checkpoint: what to write.
        directory: an existing, empty folder.
        form: "keras" for a KerasHub preset, or an original's format: "flax", "torch"
            (taming-transformers) or "min-dalle".
        notes: gets sentences on what the format does not keep.

    Raises:
        ValueError: the format has no place for such a model.
    """
    if form not in FORMATS:
        raise ValueError(f"`form` must be one of {FORMATS}. Received: {form!r}.")
    if form == "keras":
        _write_preset(checkpoint, directory)
    else:
        _write_original(checkpoint, directory, form, notes)


def _write_preset(checkpoint: Checkpoint, directory: Path) -> None:
    model, preprocessor = checkpoint.model, checkpoint.preprocessor
    if isinstance(model, DalleBartTokenizer):
        # KerasHub has no preset of a tokenizer alone; `from_preset` reads these.
        save_tokenizer(model, directory)
        return
    model.save_to_preset(os.fspath(directory))
    if preprocessor is not None and not isinstance(model, DalleBartTextToImage):
        preprocessor.save_to_preset(os.fspath(directory))
    if checkpoint.original_config is not None:
        text = json.dumps(checkpoint.original_config, indent=2) + "\n"
        (directory / ORIGINAL_CONFIG_FILE).write_text(text, encoding="utf-8")


def _write_original(
    checkpoint: Checkpoint, directory: Path, form: str, notes: list[str] | None
) -> None:
    if isinstance(checkpoint.model, DalleBartTokenizer):
        save_tokenizer(checkpoint.model, directory)
        return
    if checkpoint.backbone is None:
        VQGAN_SAVERS[form](checkpoint.vqgan, directory, notes)
        return
    if form == "flax":
        config = checkpoint.original_config or _new_config(checkpoint, notes)
        save_dalle_bart(checkpoint.backbone, directory, config)
    elif form == "min-dalle":
        save_min_dalle(checkpoint.backbone, directory)
    else:
        raise ValueError(
            "A DALL·E mini can be written as one of the formats keras, flax and "
            f"min-dalle. Received: {form}."
        )
    if checkpoint.preprocessor is not None:
        save_tokenizer(checkpoint.preprocessor.tokenizer, directory)
    if checkpoint.vqgan is not None:
        _write_vqgan_beside(checkpoint.vqgan, directory / VQGAN_FOLDER, form, notes)


def _new_config(checkpoint: Checkpoint, notes: list[str] | None) -> Mapping[str, Any]:
    """A config.json for a model that did not come with one."""
    config = original_from_backbone(checkpoint.backbone)
    if checkpoint.preprocessor is not None:
        config["normalize_text"] = checkpoint.preprocessor.normalize_text
    if notes is not None:
        notes.append(
            "A preset keeps neither the ids of end and padding nor whether layers are "
            "stored stacked: config.json has the original's defaults."
        )
    return config


def _write_vqgan_beside(
    vqgan: VQGANBackbone, directory: Path, form: str, notes: list[str] | None
) -> None:
    directory.mkdir()
    try:
        VQGAN_SAVERS[form](vqgan, directory, notes)
    except ValueError as error:
        shutil.rmtree(directory)
        if notes is not None:
            notes.append(f"The VQGAN is left out. {error}")
