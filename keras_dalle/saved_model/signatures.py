"""Signatures of the exported model: raw UTF-8 prompts in, PNG bytes out."""

# B batch, H height, W width, C colour

from typing import Any

import tensorflow as tf

from keras_dalle.generation.parameters import PARAMETERS, replace_faulty_rows

WHITE = 255


class ServingModule(tf.Module):
    """Signatures around a text-to-image task, with the variables that they read.

    `serving_default` takes eight inputs of shape [B] (`prompt` string,
    `negative_prompt` string, `seed` int64, `guidance_scale`, `guidance_scale_end` and
    `temperature` float32, `top_k` int32, `top_p` float32) and gives `image_bytes` [B]
    string (PNG) and `error` [B] string. A faulty row has a text in `error` and a white
    picture; its neighbours are as they would be without it. Every input but `prompt`
    has a default of shape [1], for requests of one row.

    Args:
        task: An object with
            `generate_rows(prompt, negative_prompt, **parameters)`, all [B], with the
            parameters of `generation/parameters.py`, giving a dict with `images` uint8
            [B, H, W, 3], and `generation_defaults`, a value for each parameter.
    """

    def __init__(self, task: Any):
        super().__init__(name="keras_dalle")
        self.serving_default = _serving_default(task)
        concrete = self.serving_default.get_concrete_function()
        # Only what the signature reads is exported: no optimizer, no training parts.
        self.weights = list(concrete.variables)
        self.tables = _captured_tables(task, concrete)

    @property
    def signatures(self) -> dict[str, Any]:
        """The functions to export, by signature name."""
        return {"serving_default": self.serving_default}


def _serving_default(task: Any) -> Any:
    """`serving_default` as a tf.function.

    The defaults are made here and not at import, since an eager tensor initializes
    TensorFlow's devices.
    """
    default = {
        p.name: tf.constant([task.generation_defaults[p.name]], p.dtype)
        for p in PARAMETERS
    }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "prompt"),
            tf.TensorSpec([None], tf.string, "negative_prompt"),
            *(tf.TensorSpec([None], p.dtype, p.name) for p in PARAMETERS),
        ]
    )
    def serving_default(
        prompt,
        negative_prompt=tf.constant([""]),  # noqa: B008
        seed=default["seed"],
        guidance_scale=default["guidance_scale"],
        guidance_scale_end=default["guidance_scale_end"],
        temperature=default["temperature"],
        top_k=default["top_k"],
        top_p=default["top_p"],
    ):
        inputs = check_equal_rows(
            {
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "seed": seed,
                "guidance_scale": guidance_scale,
                "guidance_scale_end": guidance_scale_end,
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
            }
        )
        safe_inputs, error_B = replace_faulty_rows(inputs)
        images_BHWC = task.generate_rows(**safe_inputs)["images"]
        images_BHWC = blank_rows(images_BHWC, error_B != "")
        return {"image_bytes": encode_png_rows(images_BHWC), "error": error_B}

    return serving_default


def check_equal_rows(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The same inputs, each shaped [B], behind a check that all B are equal.

    Without it a `seed` of one row would silently be broadcast over all prompts.
    """
    # ensure_shape: a session does not compare what is fed with the signature's rank.
    inputs = {name: tf.ensure_shape(x_B, [None]) for name, x_B in inputs.items()}
    sizes = {name: tf.size(x_B) for name, x_B in inputs.items()}
    equal = tf.reduce_all(tf.stack(list(sizes.values())) == sizes["prompt"])
    received: list[Any] = []
    for name, size in sizes.items():
        received += [f"{name}:", size]
    check = tf.debugging.Assert(
        equal,
        ["Every input must have as many rows as `prompt`. Received rows:", *received],
        summarize=1,
    )
    with tf.control_dependencies([check]):
        return {name: tf.identity(x_B) for name, x_B in inputs.items()}


def blank_rows(images_BHWC: tf.Tensor, blank_B: tf.Tensor) -> tf.Tensor:
    """White pictures where `blank_B` is true."""
    return tf.where(
        blank_B[:, tf.newaxis, tf.newaxis, tf.newaxis],
        tf.constant(WHITE, images_BHWC.dtype),
        images_BHWC,
    )


def encode_png_rows(images_BHWC: tf.Tensor) -> tf.Tensor:
    """uint8 [B, H, W, 3] to PNG strings [B]."""
    return tf.map_fn(
        tf.io.encode_png,
        images_BHWC,
        fn_output_signature=tf.TensorSpec([], tf.string),
    )


def _captured_tables(task: Any, concrete: Any) -> list[Any]:
    """Lookup tables below `task` that the function reads (saving must track them)."""
    captured = {id(tensor) for tensor in concrete.captured_inputs}
    return [
        node
        for node in tf.train.TrackableView(task).descendants()
        if id(getattr(node, "resource_handle", None)) in captured
    ]
