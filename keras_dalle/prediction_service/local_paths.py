"""Paths of this machine, as flags and configurations name them."""

import re
from pathlib import Path

from keras_dalle.utils.foreign_values import shortened

# `Path` makes one slash of two.
_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/+(?P<rest>.*)", re.DOTALL)
_LOCAL_SCHEME = "file"


def local_path(path: str | Path) -> Path:
    """Returns the folder or file that a path or a `file://` URI names.

    Raises:
        ValueError: It lies in another file system, such as `gs://`.
    """
    uri = _URI.fullmatch(str(path))
    if uri is None:
        return Path(path)
    if uri["scheme"] != _LOCAL_SCHEME:
        scheme = f"{uri['scheme']}://"
        raise ValueError(
            f"The embedded server reads only files of this machine, and no {scheme} "
            f"Received: {shortened(scheme + uri['rest'])}. Copy the files to a local "
            "folder and name that, or run tensorflow_model_server."
        )
    return Path("/" + uri["rest"])
