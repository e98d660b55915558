"""Loads a SavedModel with nothing but TensorFlow and asks it for one picture.

Run by `verify.py` as a script of its own, `python reload_in_fresh_process.py PATH
PROMPT`, so that no code of keras_dalle can lend the model an op or a class. Prints
one JSON object.
"""

import json
import sys

import tensorflow as tf


def main(path: str, prompt: str) -> None:
    model = tf.saved_model.load(path)
    row = {
        "prompt": tf.constant([prompt]),
        "negative_prompt": tf.constant([""]),
        "seed": tf.constant([0], tf.int64),
        "guidance_scale": tf.constant([10.0]),
        "guidance_scale_end": tf.constant([-1.0]),
        "temperature": tf.constant([1.0]),
        "top_k": tf.constant([50]),
        "top_p": tf.constant([1.0]),
    }
    outputs = model.signatures["serving_default"](**row)
    image = tf.io.decode_png(outputs["image_bytes"][0])
    report = {
        "error": outputs["error"][0].numpy().decode(),
        "image_shape": image.shape.as_list(),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
