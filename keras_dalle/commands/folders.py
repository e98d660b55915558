"""Single pictures into a folder: named, resumed, and none lost by another's failure."""

# H height, W width

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.progress import TimeRemainingColumn as TimeRemaining

import keras_dalle
from keras_dalle.commands.drawing import ROWS_AT_ONCE, Draw, with_fingerprint
from keras_dalle.commands.progress import console
from keras_dalle.utils.atomic import atomic_file
from keras_dalle.utils.file_names import name_key, numbered, slug_of
from keras_dalle.utils.picture_files import (
    check_metadata_fits,
    read_metadata,
    save_picture,
)
from keras_dalle.utils.picture_metadata import (
    PictureMetadata,
    PictureRow,
    PresetIdentity,
)

FAILURES_FILE = "failures.jsonl"
# A row's own fault, or too little memory for a batch. Anything else is a bug of ours.
FAILURES = (ValueError, RuntimeError, MemoryError, tf.errors.OpError)


@dataclass(frozen=True)
class Request:
    """A picture that is asked for.

    Attributes:
        row: its inputs.
        name: of the file, without its ending. Default: from prompt and seed.
        line: of the prompts file.
        fault: why it cannot be drawn, where that is known before.
    """

    row: PictureRow
    name: str | None = None
    line: int | None = None
    fault: Exception | None = None


@dataclass(frozen=True)
class Place:
    """Where a request's picture goes."""

    request: Request
    path: Path
    metadata: PictureMetadata
    is_done: bool


class PicturesFailed(RuntimeError):
    """Some pictures could not be drawn."""


def write_folder(
    requests: Sequence[Request],
    folder: Path,
    draw: Draw,
    preset: PresetIdentity,
    *,
    suffix: str = ".png",
    replace: bool = False,
) -> int:
    """Draws what is not there yet, several rows a call, and writes each picture.

    A picture that is there and was drawn from the same inputs is left as it is. After
    an interruption the same call goes on.

    Args:
        requests: the pictures, in the order of their drawing.
        folder: made if it is missing.
        draw: from rows to pictures.
        preset: the model that draws.
        suffix: the files' ending.
        replace: whether a picture of the same name that this package drew from other
            inputs makes room. Otherwise the new one gets a number.

    Returns:
        The number of pictures that were written.

    Raises:
        PicturesFailed: some could not be drawn; all others are written, and
            failures.jsonl in the folder tells why.
    """
    places = plan_places(requests, folder, preset, suffix, replace)
    missing = [place for place in places if not place.is_done]
    _tell_of_faults(places)
    failures: list[dict] = []
    (folder / FAILURES_FILE).unlink(missing_ok=True)
    try:
        with _progress(len(places), len(places) - len(missing)) as progress:
            for place, image_HWC in _drawn(missing, draw):
                if isinstance(image_HWC, Exception):
                    failures.append(_failure(place, image_HWC))
                else:
                    row = with_fingerprint(place.request.row, image_HWC)
                    metadata = _metadata(row, preset)
                    save_picture(Image.fromarray(image_HWC), place.path, metadata)
                progress.advance(progress.task_ids[0])
    finally:
        _write_failures(failures, folder)
    written = len(missing) - len(failures)
    console.print(
        f"{written} drawn, {len(places) - len(missing)} were there, "
        f"{len(failures)} failed"
    )
    if failures:
        raise PicturesFailed(
            f"{len(failures)} of {len(places)} pictures could not be drawn. The first: "
            f"{failures[0]['error']} All: {folder / FAILURES_FILE}"
        )
    return written


def plan_places(
    requests: Sequence[Request],
    folder: Path,
    preset: PresetIdentity,
    suffix: str,
    replace: bool,
) -> list[Place]:
    """Each request's file, and whether it is there; arguments as of `write_folder`."""
    usable = {"missing", "same", "other"} if replace else {"missing", "same"}
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    places = []
    for request in requests:
        metadata = _metadata(request.row, preset)
        base = _name(request)
        state = "taken"
        while state not in usable:
            numbers[base] += 1
            name = numbered(base, numbers[base])
            path = folder / f"{name}{suffix}"
            state = "taken" if name_key(name) in taken else _state(path, metadata)
        taken.add(name_key(name))
        is_done = state == "same" and request.fault is None
        places.append(Place(request, path, metadata, is_done))
    return places


def _tell_of_faults(places: Sequence[Place]) -> None:
    faults = [place.request.fault for place in places if place.request.fault]
    if faults:
        console.print(
            f"{len(faults)} of {len(places)} pictures cannot be drawn. The first: "
            f"{faults[0]}",
            markup=False,
            soft_wrap=True,
        )


def _name(request: Request) -> str:
    row = request.row
    return request.name or f"{slug_of(row.prompt)}_{row.parameters['seed']}"


def _state(path: Path, metadata: PictureMetadata) -> str:
    """Whether a file is missing, has this picture or another, or is not of ours."""
    if not path.exists():
        return "missing"
    if not path.is_file():
        return "foreign"  # A FIFO would never end.
    try:
        there = read_metadata(path)
    except (OSError, ValueError):
        return "foreign"
    return "same" if there.asks_the_same(metadata) else "other"


def _metadata(row: PictureRow, preset: PresetIdentity) -> PictureMetadata:
    return PictureMetadata([row], preset, grid=None, version=keras_dalle.__version__)


def _drawn(
    places: Sequence[Place], draw: Draw
) -> Iterator[tuple[Place, np.ndarray | Exception]]:
    """Yields each place with its picture, or with what went wrong.

    A row's picture does not depend on its batch. So where a batch fails, its rows are
    drawn one by one.
    """
    places, misfits = _fitting(places)
    yield from misfits
    for start in range(0, len(places), ROWS_AT_ONCE):
        batch = places[start : start + ROWS_AT_ONCE]
        try:
            images_NHWC = draw([place.request.row for place in batch])
        except FAILURES:
            for place in batch:
                yield place, _drawn_alone(place, draw)
        else:
            yield from zip(batch, images_NHWC, strict=True)


def _fitting(
    places: Sequence[Place],
) -> tuple[list[Place], list[tuple[Place, Exception]]]:
    """Those that can be drawn into their files, and the others with why not."""
    fitting: list[Place] = []
    misfits: list[tuple[Place, Exception]] = []
    for place in places:
        fault = place.request.fault or _misfit(place)
        if fault is None:
            fitting.append(place)
        else:
            misfits.append((place, fault))
    return fitting, misfits


def _misfit(place: Place) -> Exception | None:
    try:
        check_metadata_fits(place.metadata, place.path)
    except ValueError as error:
        return error
    return None


def _drawn_alone(place: Place, draw: Draw) -> np.ndarray | Exception:
    try:
        return draw([place.request.row])[0]
    except FAILURES as error:
        return error


def _failure(place: Place, error: Exception) -> dict:
    row = place.request.row
    return {
        "line": place.request.line,
        "file": place.path.name,
        "prompt": row.prompt,
        "negative_prompt": row.negative_prompt,
        **row.parameters,
        "error": str(error) or type(error).__name__,
    }


def _write_failures(failures: Sequence[dict], folder: Path) -> None:
    if not failures:
        return
    with atomic_file(folder / FAILURES_FILE) as file:
        for failure in failures:
            file.write(json.dumps(failure).encode() + b"\n")


def _progress(total: int, completed: int) -> Progress:
    columns = TextColumn("Drawing"), BarColumn(), MofNCompleteColumn(), TimeRemaining()
    progress = Progress(*columns, console=console)
    progress.add_task("", total=total, completed=completed)
    return progress
