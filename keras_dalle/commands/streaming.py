"""`--stream` and `--animation` of `generate` and `client`: pictures while drawn."""

# N pictures, H height, W width

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.color import Color
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.style import Style
from rich.text import Text

from keras_dalle.commands.progress import console
from keras_dalle.utils.writable import check_file_place

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from keras_dalle.commands.folders import Request
    from keras_dalle.commands.outputs import Output
    from keras_dalle.utils.picture_metadata import PictureRow, PresetIdentity

# Where --every is left open.
_STEPS = 8
_ANIMATION_MS = 2400
_MIN_FRAME_MS = 40

Stream = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Write the file again and again while it is drawn, and show it in a "
        "terminal with colours.",
    ),
]
Animation = Annotated[
    Path | None, typer.Option(help="A .gif of how the file's pictures were drawn.")
]
Every = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Of --stream and --animation: image tokens from one view to the next. "
        "Default: an eighth of them.",
    ),
]
Show = Callable[[int, "Image.Image"], None]


@dataclass(frozen=True)
class Views:
    """What is shown of pictures while they are drawn.

    Attributes:
        stream: whether the file and a terminal show them.
        animation: the file of an animation.
        every: image tokens from one view to the next.
    """

    stream: bool = False
    animation: Path | None = None
    every: int | None = None

    def __bool__(self) -> bool:
        return self.stream or self.animation is not None

    def check(self, output: "Output") -> None:
        """Raises `ValueError` unless the options go together.

        Raises `OSError` if the animation cannot be written.
        """
        if not self and self.every is not None:
            raise ValueError(
                "`--every` goes with `--stream` or `--animation`. Received: "
                f"--every {self.every} alone."
            )
        if self and output.is_folder:
            raise ValueError(
                "`--stream` and `--animation` are for pictures in one file: -o FILE. "
                f"Received: the folder {output.path}"
            )
        if self.animation is not None and self.animation.suffix.lower() != ".gif":
            raise ValueError(
                f"`--animation` must end in .gif. Received: {self.animation}"
            )
        if self.animation is not None:
            check_file_place(self.animation)


def write_streaming(
    task: Any,
    requests: "list[Request]",
    output: "Output",
    preset: "PresetIdentity",
    views: Views,
) -> None:
    """Draws pictures into one file, as `write_pictures`, and shows them on the way.

    Before they are whole the file says nothing of what they are drawn from.

    Args:
        task: a `DalleBartTextToImage`, or a `ServedModel`.
        requests: the pictures, as many as `generate_stream` draws.
        output: the file.
        preset: the model that draws.
        views: what is shown.

    Raises:
        ValueError: one file cannot hold all that, or a picture cannot be drawn.
    """
    import numpy as np

    from keras_dalle.commands.drawing import with_fingerprint
    from keras_dalle.commands.grids import compose, plan_grid, write_grid
    from keras_dalle.utils.animation import save_gif
    from keras_dalle.utils.picture_files import save_picture

    path = output.path
    rows = [request.row for request in requests]
    plan = plan_grid(rows, preset, path, columns=output.columns, labels=output.labels)
    length = task.backbone.image_length
    every = views.every or max(length // _STEPS, 1)
    frames = []
    with _display(length, views.stream) as show, _telling_of_interruption(views, path):
        for done, images_NHWC in _partial_pictures(task, rows, every):
            picture = compose(images_NHWC, plan)
            if views.stream and done < length:
                save_picture(picture, path)
            if views.animation is not None:
                frames.append(np.asarray(picture))
            show(done, picture)
    drawn = tuple(map(with_fingerprint, rows, images_NHWC))
    write_grid(images_NHWC, replace(plan, pictures=drawn), path)
    if views.animation is not None:
        frame_ms = max(_ANIMATION_MS // len(frames), _MIN_FRAME_MS)
        save_gif(np.stack(frames), views.animation, frame_ms=frame_ms)


def _partial_pictures(
    task: Any, rows: "list[PictureRow]", every: int
) -> "Iterator[tuple[int, np.ndarray]]":
    """How many tokens are drawn, and the pictures of them: uint8 [N, H, W, 3]."""
    from keras_dalle.commands.drawing import arguments_of

    pictures = task.generate_stream(**arguments_of(rows), every=every)
    for number, images_NHWC in enumerate(pictures, start=1):
        yield min(number * every, task.backbone.image_length), images_NHWC


@contextmanager
def _telling_of_interruption(views: Views, path: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if views.stream:
            console.print(
                f"Interrupted. What was shown last is in {path}.",
                markup=False,
                soft_wrap=True,
            )
        raise


@contextmanager
def _display(total: int, shows_pictures: bool) -> Iterator[Show]:
    """A progress bar and, under it in a terminal with colours, the picture."""
    columns = TextColumn("Drawing"), BarColumn(), MofNCompleteColumn()
    progress = Progress(*columns, TextColumn("image tokens"), console=console)
    bar = progress.add_task("", total=total)
    shows_pictures = shows_pictures and console.color_system in ("256", "truecolor")
    with Live(progress, console=console) as live:

        def show(done: int, picture: "Image.Image") -> None:
            progress.update(bar, completed=done)
            if shows_pictures:
                width, height = console.size
                view = half_blocks(picture, width, max(height - 2, 1))
                live.update(Group(progress, view), refresh=True)

        yield show


def half_blocks(picture: "Image.Image", columns: int, lines: int) -> Text:
    """A picture as text: each character is two pixels, one above the other.

    Args:
        picture: made smaller where there is no room for it.
        columns, lines: the room.
    """
    import numpy as np

    scale = min(columns / picture.width, 2 * lines / picture.height, 1.0)
    width, height = (max(round(side * scale), 1) for side in picture.size)
    pixels_HWC = np.asarray(picture.convert("RGB").resize((width, height)))
    if height % 2:
        pixels_HWC = np.concatenate([pixels_HWC, pixels_HWC[-1:]])
    text = Text(no_wrap=True, end="")
    for upper_WC, lower_WC in zip(pixels_HWC[::2], pixels_HWC[1::2], strict=True):
        for upper, lower in zip(upper_WC.tolist(), lower_WC.tolist(), strict=True):
            colours = Color.from_rgb(*upper), Color.from_rgb(*lower)
            text.append("▀", Style(color=colours[0], bgcolor=colours[1]))
        text.append("\n")
    return text
