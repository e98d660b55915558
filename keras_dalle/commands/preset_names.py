"""Presets by name: what is shipped, and a task from what the user typed."""

import difflib
from pathlib import Path
from typing import Any

PRESETS_DIRECTORY = Path(__file__).parents[1] / "presets"
CONFIG_FILE = "config.json"


def shipped_presets() -> dict[str, Path]:
    """Folders of the presets that came with this package, by name."""
    return {
        path.parent.name: path.parent
        for path in sorted(PRESETS_DIRECTORY.glob(f"*/{CONFIG_FILE}"))
    }


def check_preset(preset: str) -> None:
    """Raises unless `preset` is a shipped name, a preset's folder or a remote handle.

    Raises:
        ValueError: It is none of them. Names the known ones and the nearest.
    """
    names = list(shipped_presets())
    is_handle = "://" in preset
    if preset in names or is_handle or (Path(preset) / CONFIG_FILE).is_file():
        return
    if Path(preset).is_dir():
        raise ValueError(f"The folder {preset} is no preset: it has no {CONFIG_FILE}.")
    known = ", ".join(names) or "none"
    nearest = difflib.get_close_matches(preset, names, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    raise ValueError(
        f"Unknown preset: {preset}.{hint} Shipped presets: {known}. A folder with a "
        f"{CONFIG_FILE} is a preset too."
    )


def load_task(preset: str) -> Any:
    """The `DalleBartTextToImage` of a preset.

    Raises:
        ValueError: There is no such preset.
        OSError: Its files are damaged, or make no model; the message ends with why.
    """
    check_preset(preset)
    from keras_dalle.models import DalleBartTextToImage

    try:
        return DalleBartTextToImage.from_preset(preset)
    except (OSError, ValueError, KeyError) as error:
        raise OSError(
            f"The files of preset {preset} cannot be read, or are damaged. Install or "
            f"download them again. {type(error).__name__}: {error}"
        ) from error
