"""The `keras-dalle` command: what there is, and how its failures look.

Nothing here or at the head of `commands` imports TensorFlow, so that `--help` is
immediate; each command imports what it needs when it runs.
"""

import os
import sys
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from keras_dalle.commands.client import client
from keras_dalle.commands.convert import convert
from keras_dalle.commands.demo import demo
from keras_dalle.commands.doctor import doctor
from keras_dalle.commands.evaluate import evaluate
from keras_dalle.commands.export import export
from keras_dalle.commands.generate import generate
from keras_dalle.commands.prepare_data import prepare_data
from keras_dalle.commands.presets import presets
from keras_dalle.commands.reproduce import reproduce
from keras_dalle.commands.serve import serve
from keras_dalle.commands.stock_flags import StockFlagsCommand
from keras_dalle.commands.tokens import decode, encode
from keras_dalle.commands.train import train
from keras_dalle.utils.tensorflow_start import prepare_tensorflow

# What a user can cause and mend: bad values, files, ports, servers, extras that are not
# installed. Anything else is a bug of ours and shows its traceback.
USER_ERRORS = (ValueError, OSError, RuntimeError, ImportError)

# Each with its examples, one a paragraph.
COMMANDS = (
    (
        generate,
        'keras-dalle generate "red heart" "woman firefighter: dark skin tone" '
        "-o grid.png --seed 1\n\n"
        'keras-dalle generate "red heart" --num-images 4 -o hearts/\n\n'
        'keras-dalle generate "cat face" --image photo.jpg --keep-rows 50%\n\n'
        'keras-dalle generate "cat face" --image photo.jpg --mask mask.png\n\n'
        'keras-dalle generate "dog face" --image photo.jpg --keep-fraction 0.5\n\n'
        'keras-dalle generate "rocket" --stream --animation rocket.gif\n\n'
        'keras-dalle generate "rocket" --best-of 16 --keep 4\n\n'
        "keras-dalle generate --prompts-file prompts.csv -o pictures/",
    ),
    (
        reproduce,
        "keras-dalle reproduce grid.png\n\n"
        "keras-dalle reproduce grid.png --output again.png --preset emoji_tiny",
    ),
    (encode, "keras-dalle encode photo.jpg -o tokens.json"),
    (decode, "keras-dalle decode tokens.json -o picture.png"),
    (train, "keras-dalle train --recipe emoji_tiny --run-dir runs/emoji"),
    (prepare_data, "keras-dalle prepare-data --data-dir runs/emoji_data"),
    (evaluate, "keras-dalle evaluate emoji_tiny --output out/evaluation"),
    (convert, "keras-dalle convert downloads/dalle-mini --to out/dalle_mini"),
    (
        export,
        "keras-dalle export emoji_tiny out/models/dalle --check\n\n"
        "keras-dalle export emoji_tiny out/models/dalle --warmup-batch-size 1 "
        "--warmup-batch-size 4",
    ),
    (serve, "keras-dalle serve out/models/dalle --port 8500"),
    (
        client,
        'keras-dalle client 127.0.0.1:8500 "red heart" -o out.png\n\n'
        'keras-dalle client 127.0.0.1:8500 "red heart" "rocket" -o pictures/\n\n'
        'keras-dalle client 127.0.0.1:8500 "cat face" --image photo.jpg '
        "--keep-rows 50%\n\n"
        'keras-dalle client 127.0.0.1:8500 "rocket" --stream --animation rocket.gif',
    ),
    (demo, 'keras-dalle demo "red heart" -o out/demo.png'),
    (presets, "keras-dalle presets"),
    (doctor, "keras-dalle doctor"),
)


class _Commands(TyperGroup):
    """Prints a user's error as one message and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            # Typer ends silently if the reader of the output is gone.
            raise
        except typer.TyperException as error:
            _tell_of_dashes(error)
            raise
        except USER_ERRORS as error:
            _print_error(str(error))
            raise typer.Exit(1) from error
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            _print_error(
                "This needs more memory than there is. Ask for fewer pictures at once, "
                f"or a smaller model. {str(error)[:200]}"
            )
            raise typer.Exit(1) from error


def _print_error(text: str) -> None:
    console = Console(stderr=True, highlight=False)
    console.print("Error:", style="bold red", end=" ")
    console.print(text, markup=False, soft_wrap=True)


def _is_out_of_memory(error: Exception) -> bool:
    # By name, since TensorFlow is not imported here.
    is_tensorflows = type(error).__name__ == "ResourceExhaustedError"
    return isinstance(error, MemoryError) or is_tensorflows


def _tell_of_dashes(error: Any) -> None:
    """Adds to an unknown option's message how to give a prompt that begins like it."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ != "NoSuchOption" or context is None:
        return
    if "prompts" in {parameter.name for parameter in context.command.params}:
        error.message += (
            ". If a prompt begins with a dash, put `--` before it: "
            f'keras-dalle {context.command.name} -- "-5 degrees"'
        )


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Pictures from words: train, export, serve and ask DALL·E mini models.",
)
for _function, _examples in COMMANDS:
    _class = StockFlagsCommand if _function is serve else None
    app.command(epilog=f"Examples:\n\n{_examples}", cls=_class)(_function)


def _open_closed_streams() -> None:
    """Points each stream that the caller has closed (`>&-`) at the null device.

    Otherwise the next opened file would take its place and receive the output.
    """
    for number, name, mode in (
        (0, "stdin", "r"),
        (1, "stdout", "w"),
        (2, "stderr", "w"),
    ):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def main() -> None:
    """The console script."""
    _open_closed_streams()
    prepare_tensorflow()
    app(prog_name="keras-dalle")


if __name__ == "__main__":
    main()
