"""The start of TensorFlow for a command; call this before anything imports it."""

import ctypes
import os
from pathlib import Path
from types import ModuleType

import wrapt

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# For TensorFlow and Abseil: 0 information, 1 warnings, 2 errors, 3 fatal errors.
ERRORS, FATAL_ERRORS = 2, 3
# On a machine without a GPU, TensorFlow logs an error about it (`cuInit`). Errors that
# a user should read come as exceptions.
DEFAULTS = {
    "KERAS_BACKEND": "tensorflow",
    LOG_LEVEL: str(FATAL_ERRORS),
    # TensorFlow's own default is on only where a CPU has AVX-512. With AVX2 alone a
    # training step takes a quarter less time with it, see docs/benchmarks.md.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}

# Private: absl::SetMinLogLevel of the Abseil release in TensorFlow 2.20.
ABSEIL_LIBRARY = "libtensorflow_framework.so.2"
SET_MIN_LOG_LEVEL = "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE"


def prepare_tensorflow() -> None:
    """Chooses Keras's backend, oneDNN and quiet logs, unless variables are set.

    TensorFlow logs in two ways. One obeys `TF_CPP_MIN_LOG_LEVEL`. The other is Abseil's
    (`I0000 00:00:…`, such as the lines of MLIR and GPUs). No variable changes it. Here
    it gets the same level, but at most the level of errors.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    wrapt.register_post_import_hook(_quieten_abseil, "tensorflow")


def _quieten_abseil(tensorflow: ModuleType) -> None:
    """Lowers Abseil's log level. Does nothing on other builds, such as macOS's."""
    level = os.environ.get(LOG_LEVEL, "")
    library = Path(tensorflow.__file__ or "").with_name(ABSEIL_LIBRARY)
    if level.isdecimal() and library.is_file():
        # TensorFlow has loaded this library already.
        function = getattr(ctypes.CDLL(str(library)), SET_MIN_LOG_LEVEL, None)
        if function is not None:
            function.argtypes, function.restype = [ctypes.c_int], None
            function(min(int(level), ERRORS))
