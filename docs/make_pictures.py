"""Makes the pictures of docs/generation.md, by what it shows.

    python -m docs.make_pictures

Its Python and its `keras-dalle` commands run in order in an empty folder, in which a
block of `csv` is prompts.csv. The pictures that it shows are then copied from there.
"""

import argparse
import contextlib
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from docs.code_blocks import SHELLS, code_blocks, commands_of

DOCUMENT = Path(__file__).parent / "generation.md"
FOLDER = "generation"
PICTURE = re.compile(r"!\[[^\]]*\]\(" + FOLDER + r"/([^)]+)\)")


def pictures_of(document: str) -> list[str]:
    """The names of the pictures that a document shows."""
    return list(dict.fromkeys(PICTURE.findall(document)))


def run_document(document: str) -> None:
    """Runs what a document shows in the current folder.

    Raises:
        RuntimeError: a command failed.
    """
    namespace = {"__name__": "__main__"}
    with _each_model_loaded_once():
        for block in code_blocks(document):
            if block.language == "csv":
                Path("prompts.csv").write_text(block.code.lstrip(), encoding="utf-8")
            elif block.language == "python" and block.runs:
                exec(compile(block.code, DOCUMENT.name, "exec"), namespace)
            elif block.language in SHELLS and block.runs:
                for words in commands_of(block):
                    run_command(words)


def run_command(words: list[str]) -> None:
    """Runs a command line of `keras-dalle`.

    Raises:
        RuntimeError: it is another program's, or failed.
    """
    from keras_dalle.cli import app

    line = " ".join(words)
    print(line, flush=True)
    if words[0] != "keras-dalle":
        raise RuntimeError(f"Commands must be those of keras-dalle. Received: {line}")
    result = CliRunner().invoke(app, words[1:])
    if result.exit_code:
        raise RuntimeError(f"{line}\n{result.output}")


@contextlib.contextmanager
def _each_model_loaded_once() -> Iterator[None]:
    from keras_dalle.commands import generate, preset_names, reproduce

    load_task = functools.cache(preset_names.load_task)
    with contextlib.ExitStack() as stack:
        for module in (generate, preset_names, reproduce):
            stack.enter_context(mock.patch.object(module, "load_task", load_task))
        yield


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=DOCUMENT.parent / FOLDER)
    output = parser.parse_args().output.absolute()
    document = DOCUMENT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run_document(document)
        made = {path.name: path for path in Path().rglob("*") if path.is_file()}
        output.mkdir(parents=True, exist_ok=True)
        for name in pictures_of(document):
            shutil.copyfile(made[name], output / name)
            print(f"{os.path.getsize(output / name):7,} bytes  {name}")


if __name__ == "__main__":
    main()
