"""VQGANs against vqgan-jax and taming-transformers, on every golden case."""

import re

import keras
import numpy as np
import pytest

from keras_dalle.converters.mapping import model_tensors
from keras_dalle.converters.taming_folder import find_taming_files
from keras_dalle.converters.vqgan import load_vqgan
from keras_dalle.converters.vqgan_discriminator import (
    DISCRIMINATOR_TABLE,
    load_taming_discriminator,
)
from keras_dalle.converters.vqgan_taming_config import (
    gumbel_temperature_from_taming,
    taming_model,
)
from keras_dalle.models.vqgan.gumbel_quantizer import gumbel_softmax
from keras_dalle.utils.yaml_files import read_yaml
from tests.golden.golden_data import (
    ROOT,
    assert_as_exact_as,
    cases,
    check_found,
    load_npz,
)

# What went into the originals; all else in a file came out of them.
INPUTS = {
    "pixel_values",
    "codes",
    "x_nchw",
    "gumbel_noise_nchw",
    "temperature_schedule_steps",
}


# === What each original computed, under the golden file's names ===


def flax_outputs(folder, golden, dtype):
    vqgan = load_vqgan(folder, dtype=dtype)
    images = golden["pixel_values"]
    latents = vqgan.encode_latents(images)
    encoder = keras.Model(vqgan.input, vqgan.get_layer("encoder_conv_out").output)
    outputs = vqgan(images)
    np.testing.assert_array_equal(outputs["indices"], vqgan.encode(images))
    return {
        "encoder_out": encoder(images),
        "prequant": latents,
        "indices": outputs["indices"],
        "quantized": vqgan.quantizer(latents)[0],
        "reconstruction": outputs["reconstruction"],
        "decoded_codes": vqgan.decode(golden["codes"]),
        "min_distance_gap": _smallest_gap(vqgan, latents),
    }


def vqmodel_outputs(folder, golden, dtype):
    vqgan = load_vqgan(folder, dtype=dtype)
    images = _nhwc(golden["x_nchw"])
    latents = vqgan.encode_latents(images)
    outputs = vqgan(images)
    np.testing.assert_array_equal(outputs["indices"], vqgan.encode(images))
    return {
        "prequant_nchw": _nchw(latents),
        "indices": outputs["indices"],
        "quantized_nchw": _nchw(vqgan.quantizer(latents)[0]),
        "decoded_nchw": _nchw(outputs["reconstruction"]),
        "codebook_loss_eval": np.mean(outputs["quantization_loss"]),
        "decoded_codes_nchw": _nchw(vqgan.decode(golden["codes"])),
        "min_distance_gap": _smallest_gap(vqgan, latents),
    }


def discriminator_outputs(folder, golden, dtype):
    weights_path = find_taming_files(folder)[1]
    discriminator = load_taming_discriminator(weights_path, dtype=dtype)
    images = _nhwc(golden["x_nchw"])
    results = {
        "disc_logits_eval_nchw": _nchw(discriminator(images)),
        "disc_logits_train_nchw": _nchw(discriminator(images, training=True)),
    }
    for name, tensor in model_tensors(discriminator, DISCRIMINATOR_TABLE).items():
        results[f"disc_after_one_train_pass/{name}"] = tensor.read()
    return results


def gumbel_outputs(folder, golden, dtype):
    """With the original's noise, which it adds at inference too."""
    vqgan = load_vqgan(folder, dtype=dtype)
    images = _nhwc(golden["x_nchw"])
    latents = vqgan.encode_latents(images)
    quantizer = vqgan.quantizer
    logits = quantizer.logits(latents)
    noise = keras.ops.cast(_nhwc(golden["gumbel_noise_nchw"]), dtype)
    one_hot = gumbel_softmax(logits, noise, temperature=1.0, hard=True)
    indices = np.argmax(one_hot, axis=-1)
    decoded = vqgan.decode(indices.reshape(len(images), -1))
    quantized = quantizer.mix(one_hot)
    np.testing.assert_allclose(quantized, quantizer.lookup(indices), atol=1e-6)
    results = {
        "prequant_nchw": _nchw(latents),
        "logits_nchw": _nchw(logits),
        "argmax_logits": quantizer.to_indices(latents),
        "indices": indices,
        "quantized_nchw": _nchw(quantized),
        "decoded_nchw": _nchw(decoded),
        "codebook_entry_decoded_nchw": _nchw(decoded),
        # In units of its weight, which would hide it in the tolerance.
        "kl": np.mean(quantizer.divergence(logits)),
    }
    for name in golden:
        temperature = re.fullmatch(r"soft_quantized_temp([\d.]+)_nchw", name)
        if temperature:
            weights = gumbel_softmax(logits, noise, float(temperature[1]), hard=False)
            results[name] = _nchw(quantizer.mix(weights))
    return results


def temperature_outputs(folder, golden, dtype):
    schedule = gumbel_temperature_from_taming(read_yaml(find_taming_files(folder)[0]))
    temperatures = [schedule(step) for step in golden["temperature_schedule_steps"]]
    return {"temperature_schedule": temperatures}


def _smallest_gap(vqgan, latents):
    """Between the squared distances to the nearest code and to the next."""
    z_NE = np.asarray(latents).reshape(-1, vqgan.embedding_dim)
    codebook_CE = np.asarray(vqgan.quantizer.codebook)
    distances_NC = np.square(z_NE[:, None] - codebook_CE).sum(axis=-1)
    nearest, second = np.sort(distances_NC, axis=-1)[:, :2].T
    return np.min(second - nearest)


def _nhwc(x_nchw):
    return np.transpose(x_nchw, (0, 2, 3, 1))


def _nchw(x_nhwc):
    return np.transpose(np.asarray(x_nhwc), (0, 3, 1, 2))


# === Comparison ===


def _torch_cases():
    return sorted(path.parent for path in (ROOT / "vqgan_torch").glob("*/config.yaml"))


def _parts(folder, golden):
    """The functions that compute what a case holds."""
    if (folder / "config.json").exists():
        return [flax_outputs]
    config = read_yaml(find_taming_files(folder)[0])
    if taming_model(config).quantizer == "gumbel":
        return [gumbel_outputs, temperature_outputs]
    has_discriminator = any(name.startswith("disc_") for name in golden)
    return [vqmodel_outputs, *([discriminator_outputs] if has_discriminator else [])]


def test_there_are_cases():
    check_found(cases("vqgan_flax"))
    check_found(_torch_cases())


@pytest.mark.parametrize(
    "folder", [*cases("vqgan_flax"), *_torch_cases()], ids=lambda path: path.name
)
def test_outputs(folder):
    golden = load_npz(folder / "io.npz")
    ours32, ours64 = (
        {
            name: np.asarray(value)
            for part in _parts(folder, golden)
            for name, value in part(folder, golden, dtype).items()
        }
        for dtype in ("float32", "float64")
    )
    if "kl" in golden:
        golden["kl"] = golden["kl"] / load_vqgan(folder, load_weights=False).kl_weight
    for name in set(golden) - INPUTS:
        if np.issubdtype(golden[name].dtype, np.integer):
            np.testing.assert_array_equal(ours32[name], golden[name], err_msg=name)
        else:
            assert_as_exact_as(ours32[name], ours64[name], golden[name], name)
