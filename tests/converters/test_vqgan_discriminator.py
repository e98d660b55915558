"""Discriminators of taming-transformers' checkpoints: sizes, names and faults."""

import numpy as np
import pytest
import torch

from keras_dalle.converters.mapping import model_tensors
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.vqgan_discriminator import (
    DISCRIMINATOR_TABLE,
    discriminator_from_tensors,
    load_taming_discriminator,
)
from keras_dalle.models.vqgan.discriminator import PatchDiscriminator


def _tensors(**arguments):
    discriminator = PatchDiscriminator(filters=4, num_layers=2, **arguments)
    return dict(model_tensors(discriminator, DISCRIMINATOR_TABLE))


@pytest.mark.parametrize("norm", ["batch", "actnorm"])
def test_sizes_come_from_the_tensors(norm):
    tensors = _tensors(norm=norm, in_channels=2)
    discriminator = discriminator_from_tensors(tensors, "some.file")
    assert discriminator.num_layers == 2
    assert discriminator.filters == 4
    assert discriminator.norm == norm
    assert discriminator.in_channels == 2
    for name, tensor in model_tensors(discriminator, DISCRIMINATOR_TABLE).items():
        np.testing.assert_array_equal(tensor.read(), tensors[name].read())


def test_counters_are_integers_in_pytorch(tmp_path):
    state = {
        f"loss.discriminator.{name}": torch.tensor(tensor.read().copy())
        for name, tensor in _tensors().items()
    }
    state["loss.discriminator.main.3.num_batches_tracked"] = torch.tensor(12)
    state["encoder.conv_in.weight"] = torch.ones(1)
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    discriminator = load_taming_discriminator(tmp_path / "last.ckpt")
    assert int(discriminator.get_layer("main_3").batches) == 12


def test_checkpoint_without_a_discriminator(tmp_path):
    torch.save({"encoder.conv_in.weight": torch.ones(1)}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt must hold a discriminator's"):
        load_taming_discriminator(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("main.3.weight", None, r"missing \(1\):\s+main\.3\.weight"),
        (
            "main.5.weight",
            np.ones((3, 3), "float32"),
            r"misshapen \(1\):\s+main\.5\.we",
        ),
        ("main.0.weight", np.ones(3, "float32"), r"first kernel.* with 4 axes"),
    ],
)
def test_faulty_tensors(name, value, message):
    tensors = _tensors()
    del tensors[name]
    if value is not None:
        tensors[name] = StoredTensor.of(value)
    with pytest.raises(ValueError, match=message):
        discriminator_from_tensors(tensors, "some.file")
