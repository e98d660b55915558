"""`VQGANBackbone` against vqgan-jax, on the full tensors of every golden case."""

import numpy as np
import pytest

from keras_dalle.converters.vqgan import load_flax_vqgan
from tests.golden.golden_data import cases, load_npz

TOLERANCE = 2e-5


@pytest.fixture(scope="module", params=cases("vqgan_flax"), ids=lambda path: path.name)
def case(request):
    return load_flax_vqgan(request.param), load_npz(request.param / "io.npz")


def test_latents(case):
    vqgan, golden = case
    latents = vqgan.encode_latents(golden["pixel_values"])
    np.testing.assert_allclose(latents, golden["prequant"], atol=TOLERANCE, rtol=0)


def test_indices(case):
    vqgan, golden = case
    indices = vqgan.encode(golden["pixel_values"])
    np.testing.assert_array_equal(indices, golden["indices"])


def test_quantized(case):
    vqgan, golden = case
    shape = golden["quantized"].shape
    quantized = vqgan.quantizer.lookup(golden["indices"].reshape(shape[:-1]))
    np.testing.assert_allclose(quantized, golden["quantized"], atol=1e-6, rtol=0)


def test_reconstruction(case):
    vqgan, golden = case
    outputs = vqgan(golden["pixel_values"])
    expected = golden["reconstruction"]
    np.testing.assert_allclose(
        outputs["reconstruction"], expected, atol=TOLERANCE, rtol=0
    )
    np.testing.assert_array_equal(outputs["indices"], golden["indices"])


def test_decoded_codes(case):
    vqgan, golden = case
    decoded = vqgan.decode(golden["codes"])
    expected = golden["decoded_codes"]
    np.testing.assert_allclose(decoded, expected, atol=TOLERANCE, rtol=0)
