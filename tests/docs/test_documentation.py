"""The documents do what they say: Python runs, command lines exist.

Python blocks run in order, those of one document in one namespace, in a temporary
folder. A block is left out where the line before it is `<!-- not run: reason -->`.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from docs.code_blocks import SHELLS, code_blocks, commands_of
from docs.make_pictures import DOCUMENT as GENERATION
from keras_dalle.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# Runs a document's blocks; each has its line numbers, so that a failure names them.
RUN_BLOCKS = """
import json, sys
blocks = json.load(sys.stdin)
namespace = {"__name__": "__main__"}
for document, code in blocks:
    exec(compile(code, document, "exec"), namespace)
"""


def python_blocks(document: str) -> list[str]:
    """Python that is to run, each block moved down to its line of the document."""
    blocks = code_blocks(document)
    return [block.code for block in blocks if block.language == "python" and block.runs]


def command_lines(document: str) -> list[list[str]]:
    """The words of every command line in the document's shell blocks."""
    blocks = [block for block in code_blocks(document) if block.language in SHELLS]
    return [words for block in blocks for words in commands_of(block)]


def check_command_line(words: list[str]) -> None:
    """Raises if a command of this project does not exist or takes other options."""
    match words:
        case ["keras-dalle", *arguments]:
            _check_keras_dalle(arguments)
        case ["python" | "python3", "-m", module, *_] if module != "pip":
            if importlib.util.find_spec(module) is None:
                raise ValueError(f"There is no module {module}.")
        case ["make", *arguments]:
            _check_targets([word for word in arguments if "=" not in word])


def _check_keras_dalle(arguments: list[str]) -> None:
    group = typer.main.get_command(app)
    context = group.make_context("keras-dalle", list(arguments))
    _, command, rest = group.resolve_command(context, list(arguments))
    command.make_context(command.name, rest, parent=context)


def _check_targets(targets: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE)
    if unknown := set(targets) - set(known):
        raise ValueError(f"The Makefile has no target {', '.join(unknown)}.")


def _ids(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("path", DOCUMENTS, ids=_ids(DOCUMENTS))
def test_command_lines_exist(path):
    for words in command_lines(path.read_text(encoding="utf-8")):
        try:
            check_command_line(words)
        except Exception as error:
            pytest.fail(f"{shlex.join(words)}: {error}")


# docs/generation.md runs with its commands, in test_pictures.py.
WITH_PYTHON = [
    path
    for path in DOCUMENTS
    if path != GENERATION and python_blocks(path.read_text(encoding="utf-8"))
]


GOLDEN = ROOT / "tests" / "data" / "golden"
# What docs/checkpoints.md downloads, and small checkpoints in the same formats.
DOWNLOADS = {
    "dalle-mini": ["dallebart/mini", "text/tokenizer"],
    "vqgan": ["vqgan_flax/main"],
    "vqgan_imagenet_f16_1024": ["vqgan_torch/vqmodel"],
    "vqgan_gumbel_f8": ["vqgan_torch/gumbelvq"],
}


def place_downloads(folder: Path) -> None:
    for name, parts in DOWNLOADS.items():
        for part in parts:
            shutil.copytree(GOLDEN / part, folder / name, dirs_exist_ok=True)


@pytest.mark.parametrize("path", WITH_PYTHON, ids=_ids(WITH_PYTHON))
def test_python_runs(path, tmp_path):
    place_downloads(tmp_path / "downloads")
    result = run_python(path.name, path.read_text(encoding="utf-8"), tmp_path)
    assert result.returncode == 0, result.stderr


def run_python(name: str, document: str, folder: Path) -> subprocess.CompletedProcess:
    """Runs the Python of a document in a process of its own."""
    blocks = json.dumps([(name, code) for code in python_blocks(document)])
    return subprocess.run(
        [sys.executable, "-c", RUN_BLOCKS],
        input=blocks,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


EXAMPLE = """Text.

```python
x = 1
```

<!-- not run: takes an hour -->
```python
raise SystemExit(1)
```

```python
open("result", "w").write(str(x + 1))
```
"""


def test_blocks_share_a_namespace_and_a_folder(tmp_path):
    assert run_python("example.md", EXAMPLE, tmp_path).returncode == 0
    assert (tmp_path / "result").read_text() == "2"


def test_failing_block_is_reported_with_its_line(tmp_path):
    result = run_python("bad.md", EXAMPLE + "\n```python\nx.no\n```\n", tmp_path)
    assert result.returncode != 0
    assert 'File "bad.md", line 17' in result.stderr


def test_command_lines_are_found():
    document = (
        "```console\n$ keras-dalle export a \\\n    b  # a comment\n/out/1\n```\n"
        "```bash\nA=1 keras-dalle doctor > log 2> errors\n```\n"
        "```text\nkeras-dalle nothing\n```\n"
    )
    assert command_lines(document) == [
        ["keras-dalle", "export", "a", "b"],
        ["keras-dalle", "doctor"],
    ]


@pytest.mark.parametrize(
    "line",
    [
        "keras-dalle drow red",
        "keras-dalle generate red --no-such-option 1",
        "keras-dalle generate red --seed blue",
        "keras-dalle export emoji_tiny",
        "python -m no_such_module",
        "make no-such-target",
    ],
)
def test_wrong_command_lines_are_noticed(line):
    with pytest.raises(Exception, match=r"\S"):
        check_command_line(line.split())
