"""From a shipped preset to a picture the long way: export, server, client, grid."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_dalle.commands.outputs import output_of, write_pictures
from keras_dalle.commands.preset_names import load_task, preset_identity
from keras_dalle.commands.progress import step
from keras_dalle.commands.serve import READY

PRESET = "emoji_tiny"
COLUMNS = 4
DEFAULT_PROMPTS = (
    "red heart",
    "red apple",
    "rocket",
    "penguin",
    "rainbow",
    "clown face",
    "woman firefighter: dark skin tone",
    "man astronaut: light skin tone",
)


def run_demo(
    prompts: Sequence[str] | None, output: Path, preset: str = PRESET, seed: int = 0
) -> Path:
    """Draws prompts by way of a SavedModel and a server, and writes a grid.

    Args:
        prompts: Texts to draw. Default: `DEFAULT_PROMPTS`.
        output: The picture's file.
        preset: A preset's name or folder.
        seed: Of all pictures.

    Returns:
        The absolute path of the picture.
    """
    prompts = list(prompts or DEFAULT_PROMPTS)
    pictures = output_of(str(output), columns=min(COLUMNS, len(prompts)))
    with step(f"Loading the preset {preset}"):
        from keras_dalle.commands.drawing import drawer_of
        from keras_dalle.commands.prompt_files import entries_of, requests_of
        from keras_dalle.commands.served_model import ServedModel
        from keras_dalle.prediction_service.client import PredictionClient
        from keras_dalle.saved_model.exporter import export_saved_model

        task = load_task(preset)
        identity = preset_identity(preset)
    with tempfile.TemporaryDirectory() as base_path:
        with step("Exporting it as a SavedModel"):
            export_saved_model(task, base_path)
        with contextlib.ExitStack() as stack:
            with step("Starting the embedded server"):
                target = stack.enter_context(served(base_path))
            client = stack.enter_context(PredictionClient(target))
            model = ServedModel(client)
            parameters = {**model.generation_defaults, "seed": seed}
            requests = requests_of(entries_of(prompts), "", parameters)
            write_pictures(requests, pictures, drawer_of(model), identity)
    return pictures.path.absolute()


@contextlib.contextmanager
def served(base_path: str | Path) -> Iterator[str]:
    """Serves a base path from a process of its own and gives the server's address.

    Raises:
        RuntimeError: The server did not start; its own words are on standard error.
    """
    command = [sys.executable, "-m", "keras_dalle.cli", "serve", str(base_path)]
    command += ["--port", "0", "--rest_api_port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            first_line = next(iter(process.stdout or ()), "")
            if not first_line.startswith(READY):
                raise RuntimeError(
                    "The embedded server did not start; see its message."
                )
            yield first_line.split()[-1]
        finally:
            process.terminate()
