import inspect
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_dalle import demo
from keras_dalle.cli import COMMANDS, app
from keras_dalle.commands import client as client_command
from keras_dalle.commands import export, generate, preset_names
from keras_dalle.generation.parameters import PARAMETERS, defaults_of
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image import DalleBartTextToImage
from keras_dalle.prediction_service.client import Controls
from keras_dalle.saved_model.card_file import XLA_FLAG
from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.utils.picture_files import read_metadata
from keras_dalle.utils.picture_metadata import PresetIdentity
from tests.drawing_task import DrawingTask
from tests.fonts import needs_font
from tests.tiny_preset import tiny_task
from tests.toy_task import ToyTask, export_toy

ANY_PORTS = ("--port", 0, "--rest_api_port", 0)
SHIPPED_CONFIG = preset_names.CONFIG_FILE


def run(*arguments):
    # Typer's runner has a terminal of 80 columns, in which messages would be broken.
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "500"})


def refusal(*arguments):
    """The one message of a command that must fail."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def preset(monkeypatch, tmp_path):
    """A preset's folder, of which the commands load a toy."""
    folder = tmp_path / "preset"
    folder.mkdir()
    (folder / SHIPPED_CONFIG).write_text("{}")
    for module in (generate, export, demo):
        monkeypatch.setattr(module, "load_task", lambda *_: DrawingTask())
    return folder


@pytest.fixture(scope="module")
def base_path(tmp_path_factory):
    base_path = tmp_path_factory.mktemp("models")
    export_toy(base_path)
    return base_path


@pytest.fixture(scope="module")
def served_target(base_path):
    with demo.served(base_path) as target:
        yield target


def test_help_imports_no_tensorflow():
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from keras_dalle.cli import app\n"
        "result = CliRunner().invoke(app, ['--help'])\n"
        "assert result.exit_code == 0 and 'generate' in result.output\n"
        "print(sorted({'tensorflow', 'keras', 'numpy', 'grpc'} & set(sys.modules)))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


@pytest.mark.parametrize("function, example", COMMANDS)
def test_every_command_has_help_with_an_example(function, example):
    result = run(function.__name__.replace("_", "-"), "--help")
    assert result.exit_code == 0
    assert " ".join(example.split()) in " ".join(result.output.split())


def test_generate_writes_a_grid(preset, tmp_path):
    path = tmp_path / "new" / "grid.png"
    result = run("generate", "red", "blue", "-o", path, "--preset", preset)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(path)
    assert Image.open(path).size[0] > 16
    assert [row.prompt for row in read_metadata(path).pictures] == ["red", "blue"]


def test_generate_num_images_without_labels(preset, tmp_path):
    path = tmp_path / "grid.png"
    options = ["--num-images", 3, "--no-labels", "-o", path, "--preset", preset]
    assert run("generate", "red", "blue", *options).exit_code == 0
    width, height = Image.open(path).size
    assert width > height, "three pictures a row, one row a prompt"


@pytest.mark.parametrize(
    "prompt", ["", "x" * 10_000, os.fsdecode(b"red \xff\xfe"), "\u0000", "❤️"]
)
def test_odd_prompts_are_drawn(preset, tmp_path, prompt):
    path = tmp_path / "grid.png"
    result = run("generate", prompt, "-o", path, "--preset", preset)
    assert result.exit_code == 0, result.output
    assert path.is_file()


@pytest.fixture(scope="module")
def real_preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    tiny_task().save_to_preset(str(folder))
    return folder


def test_a_real_preset_draws_the_same_pixels_twice(real_preset, tmp_path):
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    for path in paths:
        options = ["--seed", 1, "--num-images", 2, "--preset", real_preset]
        result = run("generate", "red heart", "sun", "-o", path, *options)
        assert result.exit_code == 0, result.output
    first, second = (np.asarray(Image.open(path)) for path in paths)
    np.testing.assert_array_equal(first, second)


def test_bad_parameter_is_one_message(real_preset):
    options = ["--temperature", -1, "--preset", real_preset]
    message = refusal("generate", "red heart", *options)
    assert "`temperature` must be a finite number above 0. Received: -1" in message


def test_truncated_weights_name_the_preset(real_preset, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(real_preset, damaged)
    for weights in damaged.glob("*.weights.h5"):
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    message = refusal("generate", "red heart", "--preset", damaged)
    assert f"The files of preset {damaged} cannot be read" in message


@pytest.mark.parametrize("text", ["{", "{}"])
def test_damaged_configuration_names_the_preset(real_preset, tmp_path, text):
    damaged = tmp_path / "damaged"
    shutil.copytree(real_preset, damaged)
    (damaged / SHIPPED_CONFIG).write_text(text)
    message = refusal("generate", "red heart", "--preset", damaged)
    assert f"The files of preset {damaged} cannot be read" in message
    assert "Error: " in message.partition("again. ")[2]


@pytest.mark.parametrize(
    "option, value", [("--seed", 10**20), ("--top-k", 99999999999), ("--top-k", -1)]
)
@pytest.mark.parametrize(
    "command", [("generate",), ("client", "127.0.0.1:1")], ids=lambda c: c[0]
)
def test_integers_out_of_range_are_refused(command, option, value):
    result = run(*command, "red heart", option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr
    assert "Traceback" not in result.output


def test_generation_leaves_the_defaults_to_the_model_everywhere():
    for function in (
        generate.generate,
        client_command.client,
        DalleBartTextToImage.generate,
    ):
        parameters = inspect.signature(function).parameters
        for parameter in PARAMETERS:
            if parameter.name != "seed":
                assert parameters[parameter.name].default is None, function
    assert {p.name for p in PARAMETERS} <= Controls.__optional_keys__


def test_unknown_preset_names_the_nearest(monkeypatch, tmp_path):
    monkeypatch.setattr(preset_names, "PRESETS_DIRECTORY", tmp_path)
    (tmp_path / "emoji_tiny").mkdir()
    (tmp_path / "emoji_tiny" / SHIPPED_CONFIG).write_text("{}")
    for command in (
        ["generate", "red", "--preset", "emoji_tinny"],
        ["export", "emoji_tinny", tmp_path / "x"],
        ["evaluate", "emoji_tinny"],
    ):
        message = refusal(*command)
        assert "Unknown preset: emoji_tinny. Did you mean emoji_tiny?" in message


def test_folder_that_is_no_preset(tmp_path):
    assert "is no preset" in refusal("generate", "red", "--preset", tmp_path)


def test_bad_picture_suffix(preset, tmp_path):
    path = tmp_path / "grid.xyz"
    message = refusal("generate", "red", "-o", path, "--preset", preset)
    assert "must end in .png, .jpg, .jpeg, .webp. Received: " in message
    assert f"has a slash at its end: -o {path}/" in message


def test_export_counts_versions_and_checks(preset, tmp_path):
    base_path = tmp_path / "models"
    result = run("export", preset, base_path, "--check")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(base_path / "1")
    message = refusal("export", preset, base_path, "--version", 1)
    assert "never overwritten" in message


def test_export_says_what_the_server_needs(preset, tmp_path):
    for options, is_told in (([], False), (["--jit"], True)):
        result = run("export", preset, tmp_path, *options)
        assert result.exit_code == 0, result.output
        needed = f"The server must be started with {XLA_FLAG}"
        assert (needed in result.stderr) == is_told


def test_serve_and_client(served_target, tmp_path):
    path = tmp_path / "out.png"
    result = run("client", served_target, "red", "blue", "-o", path)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(path)
    metadata = read_metadata(path)
    assert [row.prompt for row in metadata.pictures] == ["red", "blue"]
    assert metadata.pictures[0].parameters == defaults_of(None)
    assert metadata.preset == PresetIdentity("dalle", None)


def test_client_writes_single_pictures(served_target, tmp_path):
    options = ["-o", f"{tmp_path}/", "--format", "jpg", "--seed", 3, "--top-p", 0.5]
    assert run("client", served_target, "red", "blue", *options).exit_code == 0
    assert sorted(os.listdir(tmp_path)) == ["blue_3.jpg", "red_3.jpg"]
    (row,) = read_metadata(tmp_path / "red_3.jpg").pictures
    assert row.parameters == {**defaults_of(None), "seed": 3, "top_p": 0.5}


def test_client_asks_no_server_to_draw_what_is_out_of_range():
    message = refusal("client", "127.0.0.1:1", "red", "--temperature", -1)
    assert "`temperature` must be a finite number above 0. Received: -1" in message


def test_client_without_a_server(tmp_path):
    assert "127.0.0.1:1 answered UNAVAILABLE" in refusal("client", "127.0.0.1:1", "x")


def test_serve_on_a_busy_port(served_target, base_path):
    port = served_target.rpartition(":")[2]
    message = refusal("serve", base_path, "--port", port, "--rest_api_port", 0)
    assert f"Cannot listen on 127.0.0.1:{port}" in message


@pytest.fixture
def signal_handlers():
    """Gives pytest its own back, which `serve` replaces."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def test_serve_without_a_model(tmp_path, signal_handlers):
    """With polls it would wait for one."""
    flags = [*ANY_PORTS, "--file_system_poll_wait_seconds=0"]
    message = refusal("serve", tmp_path / "nowhere", *flags)
    assert "Could not find base path" in message
    assert "No versions of servable" in refusal("serve", tmp_path, *flags)


@pytest.mark.parametrize("given", [[], [XLA_FLAG]])
def test_serve_names_the_stock_server_and_stops_on_a_signal(tmp_path, given):
    base_path = tmp_path
    export_saved_model(ToyTask(), base_path, jit=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_dalle.cli", "serve", str(base_path)]
        + ["--port", "0", "--rest_api_port", "0", "--model_name", "m", *given]
        + ["--file_system_poll_wait_seconds=0.2"]
        + ["--model_config_file_poll_wait_seconds=3"]
        + ["--per_process_gpu_memory_fraction=0.5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("Serving m version 1, REST on ")
    process.terminate()
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 0
    stock = next(line for line in messages.splitlines() if "tensorflow_model" in line)
    assert stock.split()[0] == "tensorflow_model_server"
    flags = (
        "--model_name=m",
        f"--model_base_path={base_path}",
        "--port=",
        # Whole seconds, since the stock server reads no fractions.
        "--file_system_poll_wait_seconds=1",
        "--model_config_file_poll_wait_seconds=3",
        "--per_process_gpu_memory_fraction=0.5",
    )
    assert all(f" {flag}" in stock for flag in flags)
    # What the model itself needs, by its card, once.
    assert stock.count(XLA_FLAG) == 1


def test_serve_refuses_bad_flags_before_it_imports_tensorflow(tmp_path):
    file = tmp_path / "models.config"
    file.write_text("model_config_list {")
    code = (
        "import sys; sys.argv = ['keras-dalle', *sys.argv[1:]]\n"
        "from keras_dalle.cli import main\n"
        "try: main()\n"
        "finally: print('tensorflow' in sys.modules)"
    )
    for flags in (["--model_config_file", str(file)], ["--grpc_max_threads=0", "x"]):
        result = subprocess.run(
            [sys.executable, "-c", code, "serve", *flags],
            capture_output=True,
            text=True,
        )
        assert result.returncode in (1, 2) and result.stdout == "False\n"


def test_serve_takes_switches_as_the_stock_server_does(base_path):
    def message(*flags):
        return run("serve", base_path, "--batching_parameters_file=x", *flags).stderr

    for flags in ([], ["--enable_batching=false"]):
        assert "without --enable_batching" in message(*flags)
    for flags in (["--enable_batching"], ["--enable_batching=true"]):
        assert "without --enable_batching" not in message(*flags)


def test_serve_takes_one_base_path(base_path):
    assert run("serve").exit_code == 2
    assert run("serve", base_path, "--model_base_path", base_path).exit_code == 2


def test_demo_goes_the_whole_way(preset, tmp_path):
    path = demo.run_demo(["red", "blue"], tmp_path / "demo.png", preset=str(preset))
    assert Image.open(path).size[0] > 16
    assert read_metadata(path).preset.name == preset.name


def test_presets_are_listed_with_sizes(monkeypatch, tmp_path):
    monkeypatch.setattr(preset_names, "PRESETS_DIRECTORY", tmp_path)
    assert "No preset" in run("presets").output
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / SHIPPED_CONFIG).write_text("{}")
    (folder / "metadata.json").write_text('{"parameter_count": 1234567}')
    (folder / "model.weights.h5").write_bytes(b"0" * 2_500_000)
    output = run("presets").output
    assert "tiny" in output and "1,234,567" in output and "2.5 MB" in output


def test_prepare_data_without_its_font(monkeypatch, tmp_path):
    monkeypatch.setattr("keras_dalle.data.emoji.check_shaping", lambda: None)
    font, data = tmp_path / "none.ttf", tmp_path / "data"
    message = refusal("prepare-data", "--data-dir", data, "--font", font)
    assert f"there is no file {font}" in message
    assert not data.exists()


@needs_font
def test_prepare_data_counts_pictures(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "keras_dalle.data.emoji.fully_qualified_sequences",
        lambda: ["😀", "❤️", "🇳🇴", "🇸🇯"],
    )
    result = run("prepare-data", "--data-dir", tmp_path, "--image-size", 8)
    assert result.exit_code == 0, result.output
    assert "Rendered 3 pictures." in result.stdout
    assert "1 like an earlier one." in result.stdout
    rows = re.findall(r"^[\w-]+: (\d+)$", result.stdout, re.MULTILINE)
    assert sum(map(int, rows)) == 3
