"""Backbones on `KERAS_BACKEND` against the originals, without TensorFlow.

`test_other_backends.py` and `benchmarks/gpu_step.py` run it in a process of its own. It
prints a line of JSON for each tensor of each case: how far off it is, and how far it
may be. That is 2e-5, or four times how far it moves where the weights are off by half a
unit of their last place, if that is more: Keras has float64 on TensorFlow alone.

KERAS_BACKEND=jax python -m tests.golden.on_another_backend mini mega
"""

# B batch, T image tokens, V image vocabulary + 1, H height, W width

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.modules["tensorflow"] = None  # type: ignore[assignment]  # importing it fails

import keras  # noqa: E402
import numpy as np  # noqa: E402

from keras_dalle.converters.dalle_bart import (  # noqa: E402
    dalle_bart_table,
    load_dalle_bart,
    unstack_layers,
)
from keras_dalle.converters.mapping import tensor_names  # noqa: E402
from keras_dalle.converters.vqgan import load_vqgan  # noqa: E402
from tests.golden.golden_data import (  # noqa: E402
    ROOT,
    error_and_tolerance,
    load_npz,
    neighbouring_weights,
)

WITH_GRADIENTS = "mini"
SEEDS = range(2)


def folders(names: list[str]) -> list[Path]:
    """The cases of these names, or all that can be read here."""
    readable = ["dallebart/*/io.npz", "vqgan_flax/*/io.npz"]
    if importlib.util.find_spec("torch"):  # for their files
        readable.append("vqgan_torch/*/io.npz")
    found = [path.parent for kind in readable for path in sorted(ROOT.glob(kind))]
    return [folder for folder in found if not names or folder.name in names]


def check(folder: Path) -> Iterator[dict]:
    """The error and the tolerance of each tensor of a case."""
    golden = load_npz(folder / "io.npz")
    is_vqgan = folder.parent.name != "dallebart"
    model = load_vqgan(folder) if is_vqgan else load_dalle_bart(folder)
    compute = decoded_codes if is_vqgan else transformer_outputs
    ours = compute(model, golden, folder)
    neighbours = []
    for seed in SEEDS:
        with neighbouring_weights(model, seed):
            neighbours.append(compute(model, golden, folder))
    expected = golden_pixels(golden) if is_vqgan else golden_outputs(golden)
    for name, array in ours.items():
        assert array.dtype == "float32", name
        assert array.shape == expected[name].shape, name
        scale = np.max(np.abs(expected[name])) if name.startswith("grad/") else 1.0
        error, tolerance = error_and_tolerance(
            array,
            array,
            expected[name],
            max(scale, np.finfo("float32").tiny),
            more32=[x[name] for x in neighbours],
        )
        yield {
            "case": folder.name,
            "tensor": name,
            "error": float(error),
            "tolerance": float(tolerance),
        }


# === VQGAN ===


def decoded_codes(vqgan, golden, folder):
    """Pictures `[B, H, W, 3]` of the case's codes."""
    codes = golden["codes"] if "codes" in golden else golden["indices"]
    images = vqgan.decode(codes.reshape(-1, vqgan.grid_size**2))
    return {"pixels": keras.ops.convert_to_numpy(images)}


def golden_pixels(golden):
    for name in ("decoded_codes_nchw", "codebook_entry_decoded_nchw"):
        if name in golden:
            return {"pixels": np.transpose(golden[name], (0, 2, 3, 1))}
    return {"pixels": golden["decoded_codes"]}


# === Transformer ===


def transformer_outputs(model, golden, folder):
    """Encoder states and logits; the loss and its gradients too, of one case."""
    inputs = {
        "encoder_token_ids": golden["input_ids"],
        "encoder_padding_mask": golden["attention_mask"],
        "decoder_token_ids": golden["decoder_input_ids"],
    }
    outputs = model(inputs)
    results = {name: outputs[name] for name in ("encoder_sequence_output", "logits")}
    if folder.name == WITH_GRADIENTS:
        results |= loss_and_gradients(model, inputs, golden)
    return {name: keras.ops.convert_to_numpy(x) for name, x in results.items()}


def golden_outputs(golden):
    full = {
        name.removeprefix("grad/"): array
        for name, array in golden.items()
        if name.startswith("grad/")
    }
    leaves = unstack_layers(full).items()
    return {
        "encoder_sequence_output": golden["encoder_last_hidden_state"],
        "logits": golden["logits"],
        "loss": golden["loss"],
        **{f"grad/{name}": leaf.read() for name, leaf in leaves},
    }


def loss_and_gradients(model, inputs, golden):
    """The loss, and the gradients that are golden, by the names of unstacked layers."""
    gradients_by = {"jax": jax_gradients, "torch": torch_gradients}
    loss, gradients = gradients_by[keras.backend.backend()](
        model, inputs, golden["labels"]
    )
    variables = model.trainable_variables
    names = tensor_names([v.path for v in variables], dalle_bart_table(model))
    results = {"loss": loss}
    expected = golden_outputs(golden)
    for variable, gradient in zip(variables, gradients, strict=True):
        name, rule = names[variable.path]
        if f"grad/{name}" in expected:
            array = keras.ops.convert_to_numpy(gradient)
            results[f"grad/{name}"] = rule.transform.save(array)
    return results


def mean_loss(labels_BT, logits_BTV):
    losses_BT = keras.ops.sparse_categorical_crossentropy(
        labels_BT, logits_BTV, from_logits=True
    )
    return keras.ops.mean(losses_BT)


def jax_gradients(model, inputs, labels):
    import jax

    def loss(trainable):
        outputs, _ = model.stateless_call(
            trainable, [v.value for v in model.non_trainable_variables], inputs
        )
        return mean_loss(labels, outputs["logits"])

    values = [v.value for v in model.trainable_variables]
    return jax.jit(jax.value_and_grad(loss))(values)


def torch_gradients(model, inputs, labels):
    model.zero_grad()
    loss = mean_loss(labels, model(inputs)["logits"])
    loss.backward()
    return loss, [variable.value.grad for variable in model.trainable_variables]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help="names; all by default")
    for folder in folders(parser.parse_args().cases):
        for found in check(folder):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
