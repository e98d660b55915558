"""KerasHub's table of presets and their files, for which it has no public name.

`tests/test_private_api.py` fails with the name of anything that has vanished.
"""

from keras_hub.src.utils.preset_utils import (
    BUILTIN_PRESETS,
    KerasPresetLoader,
    check_file_exists,
    get_file,
    register_presets,
)

__all__ = [
    "BUILTIN_PRESETS",
    "KerasPresetLoader",
    "check_file_exists",
    "get_file",
    "register_presets",
]
