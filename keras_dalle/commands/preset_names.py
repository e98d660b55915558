"""Presets by name: what there is, and a task from what the user typed."""

import difflib
import os
import shlex
from pathlib import Path
from typing import Any

from keras_dalle.utils.files import read_json
from keras_dalle.utils.foreign_values import one_line
from keras_dalle.utils.hub import PREFIX, HubError, cached_folder
from keras_dalle.utils.picture_metadata import PresetIdentity

PRESETS_DIRECTORY = Path(__file__).parents[1] / "presets"
CONFIG_FILE = "config.json"
METADATA_FILE = "metadata.json"


def shipped_presets() -> dict[str, Path]:
    """Folders of the presets that came with this package, by name."""
    return {
        path.parent.name: path.parent
        for path in sorted(PRESETS_DIRECTORY.glob(f"*/{CONFIG_FILE}"))
    }


def published_presets() -> dict[str, dict[str, Any]]:
    """What is known by name and is downloaded when it is used.

    Returns:
        Name -> KerasHub's fields of a registered preset. Those of pictures' models
        come first, then the VQGANs.
    """
    from keras_dalle.models import DalleBartBackbone, VQGANBackbone

    registered = {**DalleBartBackbone.presets, **VQGANBackbone.presets}
    return {
        name: fields
        for name, fields in registered.items()
        if fields["kaggle_handle"].startswith(PREFIX)
    }


def check_preset(preset: str) -> None:
    """Raises unless `preset` is a known name, a preset's folder or a remote handle.

    Raises:
        ValueError: It is none of them. The error names the known ones and the nearest.
            For a checkpoint's folder it gives the command that converts it.
    """
    shipped = shipped_presets()
    is_handle = "://" in preset
    path = _path_of(preset)
    if preset in shipped or is_handle or (path / CONFIG_FILE).exists():
        return
    published = [
        name for name, fields in published_presets().items() if "vqgan" in fields
    ]
    if preset in published:
        return
    if path.exists():
        raise ValueError(_why_no_preset(path))
    names = [*shipped, *published]
    known = ", ".join(shipped) or "none"
    nearest = difflib.get_close_matches(preset, names, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    raise ValueError(
        f"Unknown preset: {one_line(preset)}.{hint} Shipped presets: {known}. For "
        f"download: {', '.join(published)}. A folder with a {CONFIG_FILE} is "
        "a preset too, and a model on the Hugging Face Hub is hf://OWNER/NAME."
    )


def _path_of(preset: str) -> Path:
    """Returns the typed text as a path, or a path to nothing if it cannot be one."""
    try:
        os.lstat(preset)
    except (OSError, ValueError):
        return Path(os.devnull, "none")
    return Path(preset)


def _why_no_preset(path: Path) -> str:
    """Says why a path without a configuration is no preset, and the remedy."""
    if not path.is_dir():
        return f"A preset is a folder. Received: the file {path}."
    from keras_dalle.converters.originals import recognise

    try:
        kind = recognise(path).name
    except ValueError:
        return f"The folder {path} is no preset: it has no {CONFIG_FILE}."
    folder = shlex.quote(str(path))
    text = (
        f"The folder {path} is no preset. It is a checkpoint ({kind}). Convert it, and "
        f"use the result as preset: keras-dalle convert {folder} --to PRESET"
    )
    if kind.endswith("VQGAN"):
        text += (
            ". A VQGAN alone draws no prompts. Convert its model with it: keras-dalle "
            f"convert MODEL --vqgan {folder} --to PRESET"
        )
    return text


def load_task(preset: str, weights: str | None = None) -> Any:
    """The `DalleBartTextToImage` of a preset.

    Args:
        preset: as `check_preset` allows it.
        weights: as of `from_preset`.

    Raises:
        ValueError: There is no such preset.
        HubError: It must be downloaded, and cannot be.
        OSError: Its files are damaged, or make no model; the message ends with why.
    """
    check_preset(preset)
    from keras_dalle.models import DalleBartTextToImage

    return _loaded(DalleBartTextToImage, preset, weights=weights)


def load_vqgan(preset: str) -> Any:
    """The `VQGANBackbone` of a preset: of a VQGAN, or of a model that draws with one.

    Raises:
        ValueError: There is no such preset, or it has no VQGAN.
        HubError, OSError: as by `load_task`.
    """
    from keras_dalle.models import VQGANBackbone
    from keras_dalle.models.dalle_bart.dalle_bart_presets import vqgan_of

    name = vqgan_of(preset) or preset
    if name in VQGANBackbone.presets or _is_vqgan(Path(name)):
        return _loaded(VQGANBackbone, name)
    vqgan = load_task(name).vqgan
    if vqgan is None:
        raise ValueError(
            f"The preset {preset} has no VQGAN. `keras-dalle convert MODEL --vqgan "
            "VQGAN --to PRESET` makes one that has."
        )
    return vqgan


def _is_vqgan(folder: Path) -> bool:
    """Whether a folder is KerasHub's preset of a VQGAN."""
    path = folder / CONFIG_FILE
    config = read_json(path) if path.exists() else None
    return isinstance(config, dict) and config.get("class_name") == "VQGANBackbone"


def _loaded(cls: Any, preset: str, **arguments: Any) -> Any:
    try:
        return cls.from_preset(preset, **arguments)
    except HubError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise OSError(
            f"The files of preset {preset} cannot be read, or are damaged. Install or "
            f"download them again. {type(error).__name__}: {error}"
        ) from error


def preset_identity(preset: str, weights: str | None = None) -> PresetIdentity:
    """What a picture's metadata says of a preset that was loaded before.

    The same files draw other pictures from weights of another width, so that the
    fingerprint then is another. A folder's path is left out: it says more of its owner
    than of the picture. Files that KerasHub downloads from elsewhere than the Hugging
    Face Hub have no fingerprint.
    """
    from keras_dalle.utils.fingerprints import (
        fingerprint_of_preset,
        fingerprint_of_width,
    )

    folders = _local_folders(preset)
    name = preset
    if preset not in shipped_presets() and Path(preset).is_dir():
        name = Path(preset).resolve().name
    fingerprint = fingerprint_of_preset(folders) if folders else None
    if fingerprint is not None and weights not in (None, "float32"):
        fingerprint = fingerprint_of_width(fingerprint, weights)
    return PresetIdentity(name, fingerprint)


def preset_facts(preset: str) -> dict[str, Any]:
    """What an exported model's card says of a preset that was loaded before.

    Its name and fingerprint, what is known of it by name, and its own metadata, such
    as a `license`.
    """
    from keras_dalle.models import DalleBartBackbone

    identity = preset_identity(preset)
    facts = dict(DalleBartBackbone.presets.get(preset, {}).get("metadata", {}))
    for folder in _local_folders(preset)[:1]:
        if (folder / METADATA_FILE).exists():
            metadata = read_json(folder / METADATA_FILE)
            facts |= metadata if isinstance(metadata, dict) else {}
    kept = {key: x for key, x in facts.items() if key not in ("path", "tasks")}
    return {"name": identity.name, "sha256": identity.sha256, **kept}


def _local_folders(preset: str) -> list[Path]:
    """Where a preset's files are, and those of its VQGAN if that is another preset."""
    from keras_dalle.models.dalle_bart.dalle_bart_presets import vqgan_of

    if preset in (shipped := shipped_presets()):
        return [shipped[preset]]
    if Path(preset).is_dir():
        return [Path(preset)]
    published = published_presets()
    handle = published[preset]["kaggle_handle"] if preset in published else preset
    if not handle.startswith(PREFIX):
        return []
    vqgan = vqgan_of(preset)
    return [cached_folder(handle), *(_local_folders(vqgan) if vqgan else [])]
