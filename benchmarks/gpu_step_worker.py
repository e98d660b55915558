"""Times a training step of one framework on one GPU, for gpu_step.py.

PYTHONPATH=. KERAS_BACKEND=jax python benchmarks/gpu_step_worker.py keras_jax \
    '{"dtype": "bfloat16"}'
"""

# Each framework is imported by its own function: no process times two of them.

import json
import statistics
import sys
import time

from benchmarks.train_step_worker import (
    CODES,
    HEADS,
    IMAGE,
    LEARNING_RATE,
    TEXT,
    TEXT_VOCABULARY,
    WIDTH,
    bart_config,
    flax_model,
    gated_width,
    make_batch,
    torch_model,
)

DEFAULTS = {
    "dtype": "float32",  # what is computed with; weights are float32
    "layers": 12,  # of encoder and of decoder
    "batch": 16,
    "width": WIDTH,
    "steps": 20,  # of a round, without waiting in between
    "rounds": 3,
    "compiled": False,  # PyTorch's model by `torch.compile`
    "through_fit": False,  # ours by `keras.Model.fit`
}


def operations(layers, width, batch):
    """Floating-point operations of the matrix products of a training step.

    Three times those forward: two for each weight that a token meets, and for each pair
    of tokens in attention four times the width.
    """
    feed_forward = 8 * width**2
    attention = 4 * width**2
    text = layers * (TEXT * (feed_forward + attention) + 2 * TEXT**2 * width)
    cross = IMAGE * 2 * width**2 + TEXT * 2 * width**2 + 2 * IMAGE * TEXT * width
    image = layers * (IMAGE * (feed_forward + attention) + 2 * IMAGE**2 * width + cross)
    return 3 * 2 * batch * (text + image + IMAGE * width * (CODES + 1))


# === keras_dalle by Keras's JAX backend ===


def keras_backbone(settings):
    from keras_dalle.models import DalleBartBackbone

    mixed = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
    width, layers = settings["width"], settings["layers"]
    inner = gated_width(width)
    return DalleBartBackbone(
        TEXT_VOCABULARY,
        CODES,
        layers,
        layers,
        HEADS,
        width,
        inner,
        inner,
        dtype=mixed[settings["dtype"]],
    )


def inputs_of(batch):
    text, mask, image = batch
    return {
        "encoder_token_ids": text,
        "encoder_padding_mask": mask,
        "decoder_token_ids": image,
    }


def keras_jax_steps(settings, batch):
    import jax
    import keras

    backbone = keras_backbone(settings)
    optimizer = keras.optimizers.AdamW(LEARNING_RATE)
    optimizer.build(backbone.trainable_variables)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def loss_of(trainable, others, batch):
        outputs, others = backbone.stateless_call(
            trainable, others, inputs_of(batch), training=True
        )
        return cross_entropy(batch[2], outputs["logits"]), others

    def step(trainable, others, slots, batch):
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            trainable, others, batch
        )
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return loss, trainable, others, slots

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    batch = jax.device_put(batch)
    state = [
        [variable.value for variable in variables]
        for variables in (
            backbone.trainable_variables,
            backbone.non_trainable_variables,
            optimizer.variables,
        )
    ]

    def train():
        loss, *state[:] = compiled(*state, batch)
        return loss

    return train, jax_wait, jax_device


def keras_fit_steps(settings, batch):
    """One call trains for `settings["steps"]` steps, by `fit` from NumPy arrays."""
    import keras
    import numpy as np

    backbone = keras_backbone(settings)
    model = keras.Model(backbone.input, backbone.output["logits"])
    model.compile(
        keras.optimizers.AdamW(LEARNING_RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    steps = settings["steps"]
    many = [np.concatenate([x] * steps) for x in batch]

    def train():
        history = model.fit(
            inputs_of(many), many[2], batch_size=len(batch[2]), verbose=0
        )
        return history.history["loss"][-1]

    return train, lambda loss: loss, jax_device


def jax_wait(loss):
    return loss.block_until_ready()


def jax_device():
    """Its name, and the most of its memory that was in use."""
    import jax

    device = jax.local_devices()[0]
    memory = device.memory_stats() or {}
    return device.device_kind, memory.get("peak_bytes_in_use")


# === Peers ===


def flax_steps(settings, batch):
    import jax
    import optax

    model = flax_model(
        bart_config(settings["layers"], settings["width"]), settings["dtype"]
    )
    optimizer = optax.adamw(LEARNING_RATE)

    def loss_of(weights, batch):
        logits = model.apply(weights, *batch).astype("float32")
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[2]).mean()

    def step(weights, slots, batch):
        loss, gradients = jax.value_and_grad(loss_of)(weights, batch)
        changes, slots = optimizer.update(gradients, slots, weights)
        return loss, optax.apply_updates(weights, changes), slots

    weights = jax.jit(model.init)(jax.random.PRNGKey(0), *batch)
    state = [weights, jax.jit(optimizer.init)(weights)]
    del weights  # A step gives its buffers away.
    compiled = jax.jit(step, donate_argnums=(0, 1))
    batch = jax.device_put(batch)

    def train():
        loss, *state[:] = compiled(*state, batch)
        return loss

    return train, jax_wait, jax_device


def torch_steps(settings, batch):
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")  # TF32, as JAX by default
    model = torch_model(bart_config(settings["layers"], settings["width"])).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=True)
    text, mask, image = (torch.tensor(x).long().to(device) for x in batch)
    logits_of = torch.compile(model) if settings["compiled"] else model
    is_mixed = settings["dtype"] == "bfloat16"

    def train():
        with torch.autocast(device, torch.bfloat16, enabled=is_mixed):
            logits = logits_of(text, mask, image).flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, image.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def name_and_peak():
        if device == "cpu":
            return device, None
        return torch.cuda.get_device_name(), torch.cuda.max_memory_allocated()

    return train, lambda loss: loss.item(), name_and_peak


FRAMEWORKS = {"keras_jax": keras_jax_steps, "flax": flax_steps, "torch": torch_steps}


# === Timing ===


def measure(framework, settings):
    batch = make_batch(settings["batch"])
    start = time.perf_counter()
    make_steps = keras_fit_steps if settings["through_fit"] else FRAMEWORKS[framework]
    calls = 1 if settings["through_fit"] else settings["steps"]
    train, wait, device = make_steps(settings, batch)
    built = time.perf_counter()
    first_loss = float(wait(train()))
    first_seconds = time.perf_counter() - built
    for _ in range(2):  # allocators and, in PyTorch, kernels that are chosen late
        wait(train())
    seconds = []
    for _ in range(settings["rounds"]):
        began = time.perf_counter()
        for _ in range(calls):
            loss = train()
        last_loss = float(wait(loss))
        seconds.append((time.perf_counter() - began) / settings["steps"])
    step = statistics.median(seconds)
    tokens = settings["batch"] * (TEXT + IMAGE)
    work = operations(settings["layers"], settings["width"], settings["batch"])
    name, peak = device()
    return {
        "device": name,
        "seconds": step,
        "rounds": seconds,
        "tokens_per_second": tokens / step,
        "teraflops": work / step / 1e12,
        "peak_bytes": peak,
        "build_seconds": built - start,
        "first_seconds": first_seconds,
        "losses": [first_loss, last_loss],
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], {**DEFAULTS, **json.loads(sys.argv[2])})))
