"""The two files of a taming-transformers folder, published or left by a training."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from keras_dalle.utils.files import require_regular_file
from keras_dalle.utils.foreign_values import shortened

# Published folders hold both files, or the training's own sub-folders.
CONFIG_PATTERNS = ("*.yaml", "*.yml", "configs/*.yaml", "configs/*.yml")
WEIGHTS_PATTERNS = ("*.ckpt", "checkpoints/*.ckpt")

# Each start of a training writes DATE-project.yaml, with the model, and
# DATE-lightning.yaml, with the trainer's settings alone.
_PROJECT, _TRAINER = "-project.yaml", "-lightning.yaml"
# A training's newest checkpoint; others beside it are of single epochs.
_NEWEST = "checkpoints/last.ckpt"


def find_taming_files(
    directory: str | os.PathLike,
    config: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    notes: list[str] | None = None,
) -> tuple[Path, Path]:
    """Finds the .yaml and the .ckpt of a folder.

    Args:
        directory: the folder.
        config: the .yaml's path, where the folder has several.
        weights: the .ckpt's path, where the folder has several.
        notes: gets a sentence where one of a training's several files is taken.

    Raises:
        FileNotFoundError: there is not exactly one of each; the error lists them.
        ValueError: one is a pipe, a socket, a device or a folder.
    """
    directory = Path(directory)
    chosen = (
        _the_one(directory, CONFIG_PATTERNS, "config", config, _newest_project, notes),
        _the_one(directory, WEIGHTS_PATTERNS, "weights", weights, _newest, notes),
    )
    for path in chosen:
        require_regular_file(path)
    return chosen


def _the_one(
    directory: Path,
    patterns: Iterable[str],
    option: str,
    given: str | os.PathLike | None,
    choose: Callable[[Sequence[str]], str | None],
    notes: list[str] | None,
) -> Path:
    if given is not None:
        return Path(given)
    names = sorted(
        path.relative_to(directory).as_posix()
        for pattern in patterns
        for path in directory.glob(pattern)
        if not path.name.endswith(_TRAINER)
    )
    name = names[0] if len(names) == 1 else choose(names)
    if name is None:
        raise FileNotFoundError(
            "A taming-transformers folder must hold exactly one of "
            f"{', '.join(patterns)}. {directory} has: "
            f"{shortened(names) if names else 'none'}. Say by `--{option} FILE` "
            f"(`{option}=` in Python) which one to read."
        )
    if len(names) > 1 and notes is not None:
        notes.append(f"Read {name}, the newest of {len(names)} in {directory}.")
    return directory / name


def _newest_project(names: Sequence[str]) -> str | None:
    """Returns the newest file of a resumed training: names begin with the date."""
    are_projects = names and all(name.endswith(_PROJECT) for name in names)
    return names[-1] if are_projects else None


def _newest(names: Sequence[str]) -> str | None:
    folder = _NEWEST.partition("/")[0]
    are_epochs = all(name.startswith(folder) for name in names)
    return _NEWEST if _NEWEST in names and are_epochs else None
