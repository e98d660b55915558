"""Conversion there and back is the identity, for every variant."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import Phase, given, settings

from keras_dalle.converters.dalle_bart import (
    load_dalle_bart,
    save_dalle_bart,
    stack_layers,
    unstack_layers,
)
from keras_dalle.converters.dalle_bart_config import (
    config_from_original,
    original_from_backbone,
)
from keras_dalle.converters.flax import open_flax_msgpack
from tests.strategies import random_backbone, variants

few_examples = settings(
    max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


@few_examples
@given(variants)
def test_there_and_back(variant):
    backbone = random_backbone(variant)
    with tempfile.TemporaryDirectory() as folder:
        save_dalle_bart(backbone, folder)
        again = load_dalle_bart(folder)
        assert again.get_config()["variant"] == backbone.get_config()["variant"]
        for ours, theirs in zip(again.weights, backbone.weights, strict=True):
            assert ours.path == theirs.path
            np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


@few_examples
@given(variants)
def test_configuration_there_and_back(variant):
    backbone = random_backbone(variant)
    config = config_from_original(original_from_backbone(backbone))
    assert config["variant"] == variant
    ours = backbone.get_config()
    assert {name: ours[name] for name in config} == {
        **config,
        "variant": variant.fields(),
    }


@few_examples
@given(variants)
def test_stacked_layers_there_and_back(variant):
    backbone = random_backbone(variant)
    with tempfile.TemporaryDirectory() as folder:
        save_dalle_bart(backbone, folder)
        file = open_flax_msgpack(Path(folder) / "flax_model.msgpack")
        stored = unstack_layers(file)
        again = unstack_layers(stack_layers(stored))
        assert set(again) == set(stored)
        for name, tensor in stored.items():
            np.testing.assert_array_equal(again[name].read(), tensor.read())
