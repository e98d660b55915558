"""From a shipped preset to a picture the long way: export, server, client, grid."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_dalle.commands.preset_names import load_task
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
    with step(f"Loading the preset {preset}"):
        from keras_dalle.commands.grids import decode_pngs, prompt_bytes, write_grid
        from keras_dalle.prediction_service.client import PredictionClient
        from keras_dalle.saved_model.exporter import export_saved_model

        task = load_task(preset)
    with tempfile.TemporaryDirectory() as base_path:
        with step("Exporting it as a SavedModel"):
            export_saved_model(task, base_path)
        with contextlib.ExitStack() as stack:
            with step("Starting the embedded server"):
                target = stack.enter_context(served(base_path))
            with step(f"Asking {target} for {len(prompts)} pictures"):
                client = stack.enter_context(PredictionClient(target))
                pngs = client.generate(
                    [prompt_bytes(prompt) for prompt in prompts], seed=seed
                )
    columns = min(COLUMNS, len(prompts))
    return write_grid(decode_pngs(pngs), prompts, output, columns=columns).absolute()


@contextlib.contextmanager
def served(base_path: str | Path) -> Iterator[str]:
    """Serves a base path from a process of its own and gives the server's address.

    Raises:
        RuntimeError: The server did not start; its own words are on standard error.
    """
    command = [sys.executable, "-m", "keras_dalle.cli", "serve", str(base_path)]
    with subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            first_line = next(iter(process.stdout or ()), "")
            if not first_line.startswith(READY):
                raise RuntimeError(
                    "The embedded server did not start; see its message."
                )
            yield first_line.split()[-1]
        finally:
            process.terminate()
