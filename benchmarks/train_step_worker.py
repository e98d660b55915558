"""Times training steps of one framework, round by round, as it is told to.

`train_step.py` and `train_step_scaling.py` start it, see `workers.py`. It builds a
model, takes one step of each kind, and answers every request with the seconds of each
step of a round, and the peak of the process's memory meanwhile, in bytes.

echo {} | PYTHONPATH=. python benchmarks/train_step_worker.py torch '{"layers": 1}'
"""

# Each framework is imported by its own function: no process holds two of them.

import json
import os
import sys

import numpy as np

from benchmarks.workers import answer_requests, seconds_of, use_threads

WIDTH, HEADS, TEXT, IMAGE = 1024, 16, 64, 256
TEXT_VOCABULARY, CODES = 50264, 16384
LEARNING_RATE = 1e-4
DEFAULTS = {
    "layers": 2,  # of encoder and of decoder
    "batch": 1,
    "steps": 1,  # of each kind in a round
    "threads": 2,
    "width": WIDTH,
    "mesh": None,  # devices along `batch` and `model`
    "optimizer": "adamw",
    "forward_backward": True,
}


def make_batch(rows):
    """Text, its mask, and image tokens, int32 `[rows, 64 | 64 | 256]`."""
    numbers = np.random.default_rng(0)
    text = numbers.integers(0, TEXT_VOCABULARY, (rows, TEXT)).astype("int32")
    image = numbers.integers(0, CODES, (rows, IMAGE)).astype("int32")
    return text, np.ones_like(text), image


def gated_width(width):
    """2730 at width 1024, as in DALL·E mini: three such kernels for two of 4096."""
    return width * 8 // 3


# === keras_dalle ===


def keras_steps(settings, batch):
    # As the commands that train.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import tensorflow as tf

    from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage

    if settings["mesh"]:
        devices = settings["mesh"][0] * settings["mesh"][1]
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * devices,
        )
    layers, width = settings["layers"], settings["width"]
    inner = gated_width(width)
    backbone = DalleBartBackbone(
        TEXT_VOCABULARY, CODES, layers, layers, HEADS, width, inner, inner
    )
    task = DalleBartTextToImage(backbone, None)
    task.compile(keras_optimizer(settings))
    if settings["mesh"]:
        from keras_dalle.distribution.dtensor import distribute

        mesh = dict(zip(("batch", "model"), settings["mesh"], strict=True))
        distribute(task, mesh, pad_to_multiple_of=mesh["model"])
    text, mask, image = batch
    inputs = {
        "encoder_token_ids": text,
        "encoder_padding_mask": mask,
        "image_tokens": image,
    }

    @tf.function
    def gradients(inputs):
        with tf.GradientTape() as tape:
            logits = task(inputs, training=True)
            loss = task.compute_loss(inputs, inputs["image_tokens"], logits)
        return loss, tape.gradient(loss, task.trainable_variables)

    constants = {name: tf.constant(value) for name, value in inputs.items()}
    batches = iter(tf.data.Dataset.from_tensors((inputs, image)).repeat())
    task.make_train_function()
    return lambda: gradients(constants), lambda: task.train_function(batches)


def keras_optimizer(settings):
    if settings["optimizer"] == "shampoo":
        from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo

        # Mini's, with blocks as wide as the model and roots from the first step on.
        return DistributedShampoo(
            LEARNING_RATE,
            beta2=0.99,
            block_size=settings["width"],
            start_preconditioning_step=1,
            preconditioning_interval=10,
        )
    from keras_dalle.optimizers.adamw import AdamW

    return AdamW(LEARNING_RATE)


# === Peers ===


def bart_config(layers, width=WIDTH):
    """BART at DALL·E mini's width and floating-point operations."""
    from transformers import BartConfig

    return BartConfig(
        vocab_size=CODES + 1,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        max_position_embeddings=IMAGE,
        dropout=0.0,
        activation_function="gelu",
        use_cache=False,
        tie_word_embeddings=False,
    )


def torch_model(config):
    """`(text, mask, image) -> logits`, with an embedding for text and one for image."""
    from torch import nn
    from transformers import BartModel

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.bart = BartModel(config)
            width = config.d_model
            self.bart.encoder.embed_tokens = nn.Embedding(TEXT_VOCABULARY, width)
            self.bart.decoder.embed_tokens = nn.Embedding(CODES + 1, width)
            self.bart.shared = nn.Identity()
            self.head = nn.Linear(width, CODES + 1, bias=False)

        def forward(self, text, mask, image):
            states = self.bart(text, mask, decoder_input_ids=image).last_hidden_state
            return self.head(states)

    return Model()


def torch_steps(settings, batch):
    import torch
    from torch import nn

    model = torch_model(bart_config(settings["layers"]))
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, fused=True)
    text, mask, image = (torch.tensor(x, dtype=torch.long) for x in batch)

    def forward_backward():
        logits = model(text, mask, image).flatten(0, 1)
        nn.functional.cross_entropy(logits, image.flatten()).backward()

    def gradients():
        forward_backward()
        # Between steps there are no gradients, as in the other frameworks.
        optimizer.zero_grad()

    def train():
        forward_backward()
        optimizer.step()
        optimizer.zero_grad()

    return gradients, train


def flax_model(config, dtype="float32"):
    """`(text, mask, image) -> logits`, with an embedding for text and one for image."""
    import flax.linen as nn
    import jax.numpy as jnp
    from transformers.models.bart import modeling_flax_bart as bart

    width = config.d_model

    class Model(nn.Module):
        def setup(self):
            text_embedding = nn.Embed(TEXT_VOCABULARY, width, dtype=dtype)
            image_embedding = nn.Embed(CODES + 1, width, dtype=dtype)
            self.encoder = bart.FlaxBartEncoder(config, text_embedding, dtype=dtype)
            self.decoder = bart.FlaxBartDecoder(config, image_embedding, dtype=dtype)
            self.head = nn.Dense(CODES + 1, use_bias=False, dtype=dtype)

        def __call__(self, text, mask, image):
            places = [
                jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape) for x in (text, image)
            ]
            states = self.encoder(text, mask, places[0])[0]
            seen = jnp.ones_like(image)
            return self.head(self.decoder(image, seen, places[1], states, mask)[0])

    return Model()


def flax_steps(settings, batch):
    import jax
    import optax

    model = flax_model(bart_config(settings["layers"]))
    optimizer = optax.adamw(LEARNING_RATE)

    def loss(weights, batch):
        logits = model.apply(weights, *batch)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[2]).mean()

    def step(weights, slots, batch):
        changes, slots = optimizer.update(
            jax.grad(loss)(weights, batch), slots, weights
        )
        return optax.apply_updates(weights, changes), slots

    weights = jax.jit(model.init)(jax.random.PRNGKey(0), *batch)
    state = [weights, jax.jit(optimizer.init)(weights)]
    del weights  # A step gives its buffers away.
    compiled_gradients = jax.jit(jax.value_and_grad(loss))
    compiled_step = jax.jit(step, donate_argnums=(0, 1))

    def gradients():
        jax.block_until_ready(compiled_gradients(state[0], batch))

    def train():
        state[:] = jax.block_until_ready(compiled_step(*state, batch))

    return gradients, train


# === Rounds ===


FRAMEWORKS = {
    "keras_dalle": keras_steps,
    "torch": torch_steps,
    "flax": flax_steps,
}


def load(framework, settings):
    """Makes the function that times a round."""
    batch = make_batch(settings["batch"])
    gradients, train = FRAMEWORKS[framework](settings, batch)
    kinds = {"train": train}
    if settings["forward_backward"]:
        kinds["forward_backward"] = gradients
    for function in kinds.values():
        function()

    def time_a_round():
        return {
            kind: [seconds_of(function) for _ in range(settings["steps"])]
            for kind, function in kinds.items()
        }

    return time_a_round


def main():
    settings = {**DEFAULTS, **json.loads(sys.argv[2])}
    use_threads(settings["threads"])
    answer_requests(lambda: load(sys.argv[1], settings))


if __name__ == "__main__":
    main()
