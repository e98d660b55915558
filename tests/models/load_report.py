"""Loads presets and reports of each what it is, or which error it gives.

python -m tests.models.load_report '[["DalleBartBackbone", "path/or/handle"], ...]'
"""

import hashlib
import json
import sys
import time

import numpy as np

from keras_dalle import models


def fingerprint(loaded) -> str:
    """Equal for equal weights and vocabularies."""
    digest = hashlib.sha256()
    for part in (loaded, getattr(loaded, "vqgan", None)):
        for weight in getattr(part, "weights", ()):
            digest.update(np.asarray(weight).tobytes())
    for part in (loaded, getattr(loaded, "preprocessor", None)):
        part = getattr(part, "tokenizer", part)
        if hasattr(part, "merges"):
            digest.update(json.dumps([part.get_vocabulary(), part.merges]).encode())
    return digest.hexdigest()


def load_report(class_name: str, preset: str) -> dict:
    """`fingerprint`, or `error` and `message`; `seconds`."""
    start = time.monotonic()
    try:
        loaded = getattr(models, class_name).from_preset(preset)
        report = {"fingerprint": fingerprint(loaded)}
    except Exception as error:
        report = {"error": type(error).__name__, "message": str(error)}
    return {**report, "seconds": time.monotonic() - start}


if __name__ == "__main__":
    print(json.dumps([load_report(*load) for load in json.loads(sys.argv[1])]))
