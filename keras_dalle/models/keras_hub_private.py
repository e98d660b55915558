"""What KerasHub has no public name for: its table of presets, and their files.

`tests/models/test_presets.py` fails with the name of what has vanished.
"""

from keras_hub.src.utils.preset_utils import (
    BUILTIN_PRESETS,
    check_file_exists,
    get_file,
    register_presets,
)

__all__ = ["BUILTIN_PRESETS", "check_file_exists", "get_file", "register_presets"]
