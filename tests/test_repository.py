"""Rules that hold for the repository as a whole."""

import ast
import fnmatch
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_dalle"
MAX_PYTHON_LINES = 600

# The TFLite-free CPU build.
FORBIDDEN_DISTRIBUTIONS = ("ai-edge-litert", "tflite-runtime", "tf-keras")
FORBIDDEN_MODULES = ("ai_edge_litert", "tflite_runtime", "tflite", "tf_keras")

# What may use TensorFlow beside what stands above the models. Layers and models are
# `keras.ops` alone, so that they also run on another Keras backend.
TENSORFLOW_IN_MODELS = {
    "models/dalle_bart/dalle_bart_text_to_image.py",
    "models/dalle_bart/training_inputs.py",
}

# Each level imports from those before it, and from nothing else of the package.
LEVELS = (
    {"utils"},
    {"text", "layers"},
    {"generation", "optimizers"},
    {"models"},
    {"converters", "data", "distribution"},
    {"trainer", "evaluation", "saved_model"},
    {"prediction_service", "recipes"},
    {"commands", "demo", "doctor"},
    {"cli"},
)
# Imports within functions that go another way, since what they start is not needed
# until then.
LATE_IMPORTS = {
    ("models", "converters"),  # `from_preset` on the original's checkpoints
    ("models", "saved_model"),  # `export`
    ("commands", "demo"),
    ("commands", "doctor"),
}
# The command line's own helpers.
SAME_LEVEL = {("demo", "commands"), ("doctor", "commands")}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for name in folders for path in (ROOT / name).rglob("*.py"))


def repository_files() -> Iterator[Path]:
    """The files that git does not ignore."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    ignored = [".git", *(line.rstrip("/") for line in lines)]
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if not any(fnmatch.fnmatch(name, pattern) for pattern in ignored)
        ]
        yield from (Path(folder) / name for name in files)


# === Without TFLite ===


def tflite_uses(source: str) -> list[str]:
    """Imports of TFLite or of Keras 2, and attributes such as `tf.lite`."""
    tree = ast.parse(source)
    found = [name for name, _ in imports(tree) if _is_tflite(name)]
    aliases = _tensorflow_aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, *parts = ast.unparse(node).split(".")
            if root in aliases and "lite" in parts:
                found.append(f"{root}.{'.'.join(parts)}")
        elif isinstance(node, ast.Constant) and _is_tflite(str(node.value)):
            found.append(str(node.value))
    return found


def _is_tflite(module: str) -> bool:
    root, *parts = module.split(".")
    return root in FORBIDDEN_MODULES or (root == "tensorflow" and "lite" in parts)


def _tensorflow_aliases(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "tensorflow"
    }


def imports(tree: ast.Module) -> list[tuple[str, bool]]:
    """Full names of all that is imported, and whether within a function."""
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [(name, id(node) in late) for name in names]
    return found


def test_environment_is_free_of_tflite():
    installed = {
        re.sub(r"[-_.]+", "-", distribution.name).lower()
        for distribution in importlib.metadata.distributions()
    }
    assert installed.isdisjoint(FORBIDDEN_DISTRIBUTIONS)


def test_code_is_free_of_tflite():
    for path in python_files("keras_dalle", "training", "export", "serving"):
        assert tflite_uses(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "snippet",
    [
        "import tf_keras",
        "import tflite_runtime.interpreter as tflite",
        "def f():\n    from ai_edge_litert.interpreter import Interpreter",
        "from tensorflow import lite",
        "from tensorflow.lite.python import interpreter",
        "import tensorflow as tf\ntf.lite.TFLiteConverter.from_keras_model(model)",
        "import tensorflow\ntensorflow.compat.v1.lite.Interpreter()",
        "import importlib\nimportlib.import_module('tf_keras')",
    ],
)
def test_tflite_is_noticed(snippet):
    assert tflite_uses(snippet)


def test_plain_tensorflow_is_not_mistaken_for_tflite():
    assert not tflite_uses("import tensorflow as tf\ntf.constant('lite').lite_name")


# === Imports ===


def test_import_is_light():
    heavy = {"tensorflow", "keras", "keras_hub", "numpy"}
    code = f"import sys, keras_dalle\nprint(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


TOP_NAMES = """
import sys
import keras_dalle
print(*keras_dalle.__all__)
print(set(keras_dalle.__all__) <= set(dir(keras_dalle)))
print(keras_dalle.text.train_vocabulary.__module__)
print(sorted({"tensorflow", "keras"} & set(sys.modules)))
from keras_dalle import *
print(DalleBartTokenizer is keras_dalle.models.DalleBartTokenizer)
print(*(hasattr(keras_dalle, name) for name in (*keras_dalle.__all__, "Dalle")))
"""


def test_public_classes_are_at_the_top_and_load_late():
    result = subprocess.run(
        [sys.executable, "-c", TOP_NAMES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names, in_dir, module, loaded, is_same, found = result.stdout.splitlines()
    assert names.split() == [
        "DalleBartBackbone",
        "DalleBartTextToImage",
        "DalleBartTextToImagePreprocessor",
        "DalleBartTokenizer",
        "VQGANBackbone",
        "__version__",
    ]
    assert in_dir == is_same == "True" and loaded == "[]"
    assert module == "keras_dalle.text.vocabulary"
    assert found.split() == 6 * ["True"] + ["False"]


def test_layers_and_models_are_keras_ops_alone():
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in python_files("keras_dalle/layers", "keras_dalle/models")
        for name, _ in imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.partition(".")[0] == "tensorflow"
    }
    assert users == TENSORFLOW_IN_MODELS


def upward_imports(unit: str, source: str) -> list[str]:
    """Imports of a module in `unit`, such as "models", that its level forbids."""
    found = []
    for name, is_late in imports(ast.parse(source)):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package != "keras_dalle" or other in ("", unit):
            continue
        if _level(other) < _level(unit) or (unit, other) in SAME_LEVEL:
            continue
        if not (is_late and (unit, other) in LATE_IMPORTS):
            found.append(f"{unit} imports {name}")
    return found


def _level(unit: str) -> int:
    for number, level in enumerate(LEVELS):
        if unit in level:
            return number
    raise ValueError(f"`LEVELS` must name each part of keras_dalle. Missing: {unit}")


def test_imports_run_downward():
    for path in python_files("keras_dalle"):
        unit = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if unit != "__init__":
            source = path.read_text(encoding="utf-8")
            assert upward_imports(unit, source) == [], path


@pytest.mark.parametrize(
    "unit, source",
    [
        ("layers", "from keras_dalle.text.packing import pack_prompts"),
        ("layers", "import keras_dalle.models"),
        ("models", "from keras_dalle import saved_model"),
        ("models", "def f():\n    import keras_dalle.recipes.emoji_tiny"),
        ("models", "from keras_dalle.converters import flax"),
        ("saved_model", "from keras_dalle.commands import options"),
    ],
)
def test_upward_imports_are_noticed(unit, source):
    assert upward_imports(unit, source)


# === Wheel ===


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory):
    """Names of the files in a wheel, built from a copy without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for path in repository_files():
        relative = path.relative_to(ROOT)
        if relative.parts[:2] != ("tests", "data"):
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / relative)
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-index"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    result = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_the_package_alone(wheel_names):
    folders = {name.partition("/")[0] for name in wheel_names}
    (information,) = folders - {"keras_dalle"}
    assert re.fullmatch(r"keras_dalle-[\d.]+\.dist-info", information)


def test_wheel_holds_all_of_the_package(wheel_names):
    files = {
        path.relative_to(ROOT).as_posix()
        for path in repository_files()
        if path.is_relative_to(PACKAGE)
    }
    assert {"keras_dalle/py.typed", "keras_dalle/recipes/emoji_tiny.py"} <= files
    assert files - wheel_names == set()


# === Text ===


def machine_paths(text: str) -> list[str]:
    """Absolute paths that exist on somebody's machine alone."""
    return re.findall(r"(?<![\w.])/(?:work|root|home|Users)/[\w.-]+", text)


def test_text_names_no_path_of_a_machine():
    for path in repository_files():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert machine_paths(text) == [], path


def test_paths_of_a_machine_are_noticed():
    assert machine_paths("see /root/x.py") == ["/root/x.py"]
    assert machine_paths('open("/home/ann/data")') == ["/home/ann"]
    assert not machine_paths("src/work/file, https://example.com/home/page")


def test_no_python_file_is_long():
    for path in repository_files():
        if path.suffix == ".py":
            lines = path.read_text(encoding="utf-8").count("\n")
            assert lines <= MAX_PYTHON_LINES, path
