"""Names the private API of Keras and KerasHub that has vanished."""

import importlib

import keras
import pytest

# What `converters/deferred.py` and `models/keras_hub_private.py` build on.
MODULE_NAMES = [
    ("keras.src.backend.common.global_state", "get_global_attribute"),
    ("keras.src.backend.common.global_state", "set_global_attribute"),
    ("keras.src.backend.common.stateless_scope", "in_stateless_scope"),
    ("keras_hub.src.utils.preset_utils", "BUILTIN_PRESETS"),
    ("keras_hub.src.utils.preset_utils", "KerasPresetLoader"),
    ("keras_hub.src.utils.preset_utils", "check_file_exists"),
    ("keras_hub.src.utils.preset_utils", "get_file"),
    ("keras_hub.src.utils.preset_utils", "register_presets"),
]
# What `optimizers/distributed_shampoo.py` overrides.
OPTIMIZER_NAMES = ["_distributed_tf_update_step"]
VARIABLE_NAMES = ["_value", "_initializer", "_deferred_initialize"]


@pytest.mark.parametrize(("module", "name"), MODULE_NAMES)
def test_of_modules(module, name):
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", VARIABLE_NAMES)
def test_of_variables(name):
    assert hasattr(keras.Variable([0.0]), name)


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_of_optimizers(name):
    assert hasattr(keras.optimizers.Optimizer, name)
