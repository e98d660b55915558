"""The SavedModels of the contract suite, and the configuration that serves them.

python -m tests.serving_contract.models FOLDER

writes them for a stock server; see docs/serving.md.
"""

import sys
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text

CONFIG_FILE = "models.config"
# As in TF Serving's own test data.
VERSION = 123
VERSION_FOLDER = "00000123"
SLOW_STEPS = 10**9
ROWS = tf.TensorSpec([None], tf.float32, name="x")
TEXTS = tf.TensorSpec([None], tf.string, name="text")
DEFAULT_NUMBER = tf.constant([7], tf.int64)


class HalfPlus(tf.Module):
    """y = x / 2 + b."""

    def __init__(self, b: float):
        super().__init__()
        self.half = tf.Variable(0.5)
        self.b = tf.Variable(b)

    @tf.function(input_signature=[ROWS])
    def predict(self, x):
        return {"y": self.half * x + self.b}

    def signatures(self):
        return {"serving_default": self.predict}


class Echo(tf.Module):
    """Texts as they are, once as text and once as bytes, and a number for each.

    A second input has a default; the text "bad" is an error of the graph.
    """

    @tf.function(
        input_signature=[TEXTS, tf.TensorSpec([None], tf.int64, name="number")]
    )
    def echo(self, text, number=DEFAULT_NUMBER):
        fine = tf.debugging.Assert(
            tf.reduce_all(text != "bad"), ["`text` must not be bad"]
        )
        with tf.control_dependencies([fine]):
            number = tf.broadcast_to(number, tf.shape(text))
            return {"text": text, "text_bytes": tf.identity(text), "number": number}

    def signatures(self):
        return {"serving_default": self.echo}


class Slow(tf.Module):
    """y = x, after a loop of minutes where an x is above 0."""

    @tf.function(input_signature=[ROWS])
    def slow(self, x):
        steps = tf.where(tf.reduce_any(x > 0), SLOW_STEPS, 0)
        step = tf.while_loop(lambda i: i < steps, lambda i: (i + 1,), [0])[0]
        return {"y": x + tf.cast(step - steps, tf.float32)}

    def signatures(self):
        return {"serving_default": self.slow}


class Words(tf.Module):
    """The words of each text, by an operation of tensorflow-text."""

    def __init__(self):
        super().__init__()
        self.tokenizer = tf_text.WhitespaceTokenizer()

    @tf.function(input_signature=[TEXTS])
    def split(self, text):
        words = self.tokenizer.tokenize(text)
        return {
            "words": words.to_tensor(default_value=""),
            "count": words.row_lengths(),
        }

    def signatures(self):
        return {"serving_default": self.split}


MODELS = {
    "half_plus_two": HalfPlus(2.0),
    "half_plus_three": HalfPlus(3.0),
    "echo": Echo(),
    "slow": Slow(),
    "words": Words(),
}


def save(module, path: str | Path) -> Path:
    """Writes a version, whole or not at all."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}")
    tf.saved_model.save(module, str(temporary), signatures=module.signatures())
    return temporary.rename(path)


def config_text(folder: Path, *names: str) -> str:
    """A ModelServerConfig of models under `folder`."""
    entries = "".join(
        f'  config {{ name: "{name}" base_path: "{folder / name}" '
        'model_platform: "tensorflow" }\n'
        for name in names
    )
    return f"model_config_list {{\n{entries}}}\n"


def write_models(folder: str | Path) -> Path:
    """Writes all models and their configuration, and returns the file of that."""
    folder = Path(folder).absolute()
    for name, module in MODELS.items():
        (folder / name).mkdir(parents=True)
        save(module, folder / name / VERSION_FOLDER)
    file = folder / CONFIG_FILE
    file.write_text(config_text(folder, *MODELS), encoding="utf-8")
    return file


if __name__ == "__main__":
    print(write_models(sys.argv[1]))
