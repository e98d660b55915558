"""Cases that need eight devices; `test_dtensor.py` runs each in a process of its own.

By hand: `pytest tests/distribution/dtensor_cases.py -k fit`
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.experimental import dtensor

from keras_dalle.distribution.activations import change_output
from keras_dalle.distribution.dtensor import distribute
from keras_dalle.distribution.layout_rules import DALLE_BART_VARIABLES, Rule
from keras_dalle.distribution.mesh import to_host
from keras_dalle.distribution.private_api import layers_by_path, tensorflow_variable
from keras_dalle.distribution.process_rows import process_shard
from keras_dalle.models import DalleBartTextToImage
from keras_dalle.optimizers.adamw import AdamW
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.recipes.mega import mega_recipe
from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.trainer.trainer import train
from tests.distribution.dtensor_models import (
    make_examples,
    make_task,
    use_virtual_cpus,
)
from tests.recipes.small_recipes import scaled_down, write_data, write_tokenizer
from tests.saved_model.signature_calls import SignatureCalls
from tests.tiny_preset import tiny_task

use_virtual_cpus()

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adamw": lambda: keras.optimizers.AdamW(1e-3),
    "fused": lambda: AdamW(1e-3),
    "adafactor": lambda: keras.optimizers.Adafactor(1e-2),
    # Blocks of several sizes, and roots at every second step.
    "shampoo": lambda: DistributedShampoo(
        1e-2,
        beta2=0.99,
        block_size=40,
        merged_dim=None,
        preconditioning_interval=2,
        start_preconditioning_step=2,
        groups=("encoder_layer_", "decoder_layer_"),
    ),
    "clipping": lambda: keras.optimizers.AdamW(1e-3, global_clipnorm=0.1),
    "accumulation": lambda: keras.optimizers.SGD(
        0.1, momentum=0.9, gradient_accumulation_steps=2
    ),
    "ema": lambda: keras.optimizers.SGD(
        0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "averaged": lambda: keras.optimizers.AdamW(1e-3, use_ema=True, ema_momentum=0.5),
}


def compiled(optimizer="sgd", **kwargs):
    task = make_task(**kwargs)
    task.compile(optimizer=OPTIMIZERS[optimizer]())
    return task


def losses_of_steps(task, steps=4, shard=(1, 0)):
    x, y = make_examples()
    rows = slice(shard[1] * len(y) // shard[0], (shard[1] + 1) * len(y) // shard[0])
    x, y = {name: value[rows] for name, value in x.items()}, y[rows]
    return [task.train_on_batch(x, y, return_dict=True)["loss"] for _ in range(steps)]


def state_of(task):
    """Weights and slots, as arrays."""
    return [
        [np.asarray(variable.numpy(), "float64") for variable in variables]
        for variables in (task.trainable_variables, task.optimizer.variables)
    ]


@functools.cache
def trained_in_one_place(optimizer):
    task = compiled(optimizer)
    return losses_of_steps(task), state_of(task)


def assert_steps_are_equal(mesh_shape, optimizer, tolerance=1e-5):
    expected_losses, expected = trained_in_one_place(optimizer)
    task = compiled(optimizer)
    placement = distribute(task, mesh_shape)
    # Several steps: stale variables, see `create_mesh`, show from the third on.
    losses = losses_of_steps(task, shard=process_shard(placement.mesh))
    np.testing.assert_allclose(losses, expected_losses, atol=tolerance)
    placement.gather()
    (weights, slots), (expected_weights, expected_slots) = state_of(task), expected
    for value, expected_value in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(value, expected_value, rtol=1e-5, atol=tolerance)
    # Slots are not on the scale of the weights: normalized gradients are of about 1,
    # roots of up to 13, and what float32 leaves uncertain in one is in all its entries.
    for value, expected_value in zip(slots, expected_slots, strict=True):
        scale = max(10.0, 2.0 * np.max(np.abs(expected_value), initial=0.0))
        np.testing.assert_allclose(
            value, expected_value, rtol=1e-5, atol=scale * tolerance
        )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adafactor", "shampoo"])
@pytest.mark.parametrize("batch, model", [(2, 4), (4, 2), (1, 8), (8, 1)])
def test_steps(batch, model, optimizer):
    assert_steps_are_equal({"batch": batch, "model": model}, optimizer)


def test_variables_are_not_stale():
    """An update reads what the one before it assigned; see `create_mesh`."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 8, 8)).astype("float32")
    losses = []
    for mesh_shape in (None, {"batch": 2, "model": 4}):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((8,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(8)]
        )
        model.compile(OPTIMIZERS["sgd"](), "mse", jit_compile=False)
        if mesh_shape:
            rules = (Rule("kernel$", (None, "model")), Rule("bias$", ("model",)))
            distribute(model, mesh_shape, rules, ())
        losses.append([model.train_on_batch(x, y) for _ in range(6)])
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-6)


@pytest.mark.parametrize("optimizer", ["fused", "clipping", "accumulation", "ema"])
def test_options(optimizer):
    assert_steps_are_equal({"batch": 2, "model": 4}, optimizer)


def test_bfloat16():
    plain, spread = (compiled("sgd", dtype="mixed_bfloat16") for _ in range(2))
    expected = losses_of_steps(plain)
    distribute(spread, {"batch": 2, "model": 4})
    np.testing.assert_allclose(losses_of_steps(spread), expected, atol=8e-4)


@pytest.mark.parametrize(
    "optimizer, sizes",
    [
        # Mini's own, which do not divide by 8.
        ("adamw", {"image_vocabulary_size": 16384, "intermediate_dims": (2730, 2730)}),
        ("shampoo", {"norm": "rmsnorm", "intermediate_dims": (45, 43)}),
        (
            "accumulation",
            {"image_vocabulary_size": 16384, "intermediate_dims": (2730, 2730)},
        ),
    ],
)
def test_padding(optimizer, sizes):
    norm = sizes.pop("norm", "layernorm")
    inside = sizes.pop("intermediate_dims")
    sizes = {
        "image_vocabulary_size": 64,
        "encoder_intermediate_dim": inside[0],
        "decoder_intermediate_dim": inside[1],
        "vocabulary_size": 49,
        "variant": {"norm": norm},
        **sizes,
    }
    plain, spread = compiled(optimizer, **sizes), compiled(optimizer, **sizes)
    expected = losses_of_steps(plain)
    placement = distribute(spread, {"batch": 1, "model": 8}, pad_to_multiple_of=8)
    np.testing.assert_allclose(losses_of_steps(spread), expected, atol=1e-5)
    head = tensorflow_variable(spread.backbone.image_head.kernel).read_value()
    rows = sizes["image_vocabulary_size"] + 1
    assert dtensor.unpack(head)[0].shape == (32, rows // 8 + 1)
    assert not to_host(head)[:, rows:].any()
    placement.gather()
    # What a checkpoint would hold has its logical shape.
    for variable in (*spread.trainable_variables, *spread.optimizer.variables):
        assert variable.value.shape == variable.shape
    for ours, theirs in zip(spread.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


class LearningRates(keras.callbacks.Callback):
    """What callbacks of Keras do: read the logs, set the learning rate."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((float(self.model.optimizer.learning_rate), logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.05


def test_fit():
    x, y = make_examples(rows=20)  # The last batch, 4 rows, does not divide by 8.
    histories, predictions, rates = [], [], []
    for mesh_shape in (None, {"batch": 8, "model": 1}):
        task = compiled("adamw")
        if mesh_shape:
            placement = distribute(task, mesh_shape)
        callback = LearningRates()
        history = task.fit(
            x,
            y,
            batch_size=8,
            epochs=2,
            shuffle=False,
            validation_data=(x, y),
            callbacks=[callback],
            verbose=0,
        )
        histories.append(history.history)
        predictions.append(task.predict(x, batch_size=8, verbose=0))
        rates.append(callback.seen)
    assert set(histories[0]) >= {"val_loss", "token_accuracy", "val_perplexity"}
    for name, expected in histories[0].items():
        np.testing.assert_allclose(histories[1][name], expected, rtol=1e-5)
    np.testing.assert_allclose(rates[1], rates[0], rtol=1e-5)
    np.testing.assert_allclose(predictions[1], predictions[0], atol=1e-4)
    with placement.gathered():
        np.testing.assert_allclose(
            task.predict(x, verbose=0), predictions[1], atol=1e-5
        )
    assert np.isfinite(task.train_on_batch({k: v[:8] for k, v in x.items()}, y[:8])[0])


def test_fit_with_callbacks_that_read_and_assign_weights(tmp_path):
    """On weights that are sharded and padded: 65 rows of codes, a width of 45."""
    x, y = make_examples(rows=16)
    sizes = {"image_vocabulary_size": 64, "decoder_intermediate_dim": 45}
    results = []
    for mesh_shape in (None, {"batch": 4, "model": 2}):
        task = compiled("averaged", **sizes)
        folder = tmp_path / str(bool(mesh_shape))
        file = str(folder / "epoch_{epoch}.weights.h5")
        if mesh_shape:
            placement = distribute(task, mesh_shape, pad_to_multiple_of=2)
        history = task.fit(
            x,
            y,
            batch_size=8,
            epochs=4,
            shuffle=False,
            validation_data=(x, y),
            callbacks=[
                keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
                keras.callbacks.ModelCheckpoint(file, save_weights_only=True),
                keras.callbacks.BackupAndRestore(folder / "backup"),
                keras.callbacks.EarlyStopping(
                    "loss", min_delta=10, patience=1, restore_best_weights=True
                ),
            ],
            verbose=0,
        )
        assert len(history.epoch) == 2
        restored = task.get_weights()
        task.load_weights(file.format(epoch=1))
        results.append([*history.history["val_loss"], *restored, *task.get_weights()])
    loaded = task.get_weights()
    with placement.gathered():
        for ours, expected in zip(task.get_weights(), loaded, strict=True):
            np.testing.assert_array_equal(ours, expected)
    for ours, expected in zip(*reversed(results), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"variable's shape \(32, 65\).*\(32, 66\)"):
        tensorflow_variable(task.backbone.image_head.kernel).assign(np.ones((32, 66)))


def test_layouts():
    task = compiled("adamw")
    task.optimizer.build(task.trainable_variables)
    bytes_in_one_place = sum(
        int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size
        for v in task.trainable_variables
    )
    placement = distribute(task, {"batch": 2, "model": 4})
    specs = {}
    for variable in [*task.trainable_variables, *task.optimizer.variables]:
        value = tensorflow_variable(variable)
        specs[variable.path] = tuple(dtensor.fetch_layout(value).sharding_specs)
        assert specs[variable.path] == tuple(
            axis or dtensor.UNSHARDED for axis in placement.axes_of(variable)
        )
    query = "decoder_layer_0/self_attention/query/kernel"
    assert specs[query] == (dtensor.UNSHARDED, "model")
    slots = [path for path in specs if query.replace("/", "_") in path]
    assert len(slots) == 2 and all(specs[slot] == specs[query] for slot in slots)
    assert specs["image_head/kernel"] == (dtensor.UNSHARDED, "model")
    # All but the norms is in four parts, for AdamW's two slots as for the weights.
    norms = sum(
        4 * int(np.prod(v.shape)) for v in task.trainable_variables if len(v.shape) == 1
    )
    assert placement.bytes_per_device == pytest.approx(
        3 * (norms + (bytes_in_one_place - norms) / 4), abs=200
    )


def test_layouts_of_shampoo():
    """Each device holds its share of the matrices: of their bytes, an eighth."""
    task = compiled("shampoo")
    distribute(task, {"batch": 2, "model": 4})
    optimizer = task.optimizer
    assert optimizer._statistics
    for matrices in (*optimizer._statistics, *optimizer._preconditioners):
        value = tensorflow_variable(matrices).read_value()
        assert dtensor.fetch_layout(value).sharding_specs == [
            *("batch", dtensor.UNSHARDED, dtensor.UNSHARDED, "model")
        ]
        count, *shape, side = matrices.shape
        piece = dtensor.unpack(value)[0]
        assert piece.shape == (-(-count // 2), *shape, side // 4)


def test_activations():
    task = compiled()
    placement = distribute(task, {"batch": 2, "model": 4})
    seen = {}

    def record(path, tensor):
        seen[path] = tensor
        return tensor

    paths = (
        "decoder_layer_0/self_attention/weights_dropout",
        "decoder_layer_0/self_attention/query",
        "encoder_layer_0/feed_forward/inside_norm",
        "image_head",
        "decoder_layer_0",
    )
    layers = layers_by_path(task)
    for path in paths:
        change_output(layers[path], lambda tensor, path=path: record(path, tensor))
    x, y = make_examples()

    @tf.function
    def forward(batch):
        seen.clear()
        task(batch, training=False)
        return dict(seen)

    outputs = forward(placement.pack((x, y))[0])
    pieces = {path: dtensor.unpack(t)[0].shape.as_list() for path, t in outputs.items()}
    # B batch 8 / 2, N heads 8 / 4, D width 32 / 4, F 48 / 4, V vocabulary 64 / 4.
    assert pieces == {
        "decoder_layer_0/self_attention/weights_dropout": [4, 2, 16, 16],
        "decoder_layer_0/self_attention/query": [4, 16, 8],
        "encoder_layer_0/feed_forward/inside_norm": [4, 8, 12],
        "image_head": [4, 16, 16],
        "decoder_layer_0": [4, 16, 32],
    }


def test_checkpoint_of_another_mesh(tmp_path):
    task = compiled("adamw")
    placement = distribute(task, {"batch": 2, "model": 4})
    losses_of_steps(task, steps=2)
    with placement.gathered():
        checkpoint = tf.train.Checkpoint(
            model=[v.value for v in task.trainable_variables],
            optimizer=[v.value for v in task.optimizer.variables],
        )
        path = checkpoint.write(str(tmp_path / "state"))
    expected = losses_of_steps(task, steps=2)
    other = compiled("adamw")
    other.optimizer.build(other.trainable_variables)
    tf.train.Checkpoint(
        model=[v.value for v in other.trainable_variables],
        optimizer=[v.value for v in other.optimizer.variables],
    ).read(path).assert_consumed()
    distribute(other, {"batch": 4, "model": 2})
    np.testing.assert_allclose(losses_of_steps(other, steps=2), expected, atol=1e-6)


def test_recipe(tmp_path):
    """Mega's, with a mesh of its own: all that it does there at once, by `train`."""
    data, tokenizer = write_data(tmp_path), write_tokenizer(tmp_path / "tokenizer")
    weights = []
    for mesh in (None, {"batch": 4, "model": 2}):
        recipe = scaled_down(mega_recipe(), tokenizer)
        config = recipe.optimizer().get_config()
        config.update(
            learning_rate=1e-2, start_preconditioning_step=1, preconditioning_interval=1
        )
        recipe.optimizer = functools.partial(DistributedShampoo.from_config, config)
        assert recipe.checkpointed_layers and config["gradient_accumulation_steps"] == 3
        recipe.blank_caption_rate = 0.0
        recipe.mesh, recipe.pad_to_multiple_of = mesh, mesh and 2
        recipe.batch_size_per_replica = 2 if mesh else 8
        run = recipe.training_run(data)
        preset = train(run, tmp_path / str(bool(mesh)))
        assert int(run.model.optimizer.iterations) == 2
        weights.append(DalleBartTextToImage.from_preset(str(preset)).get_weights())
    for ours, expected in zip(*reversed(weights), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_mistakes_name_their_remedy():
    with pytest.raises(ValueError, match="must have the axes 'batch' and 'model'"):
        distribute(compiled(), {"data": 8})
    with pytest.raises(ValueError, match="needs 16 devices"):
        distribute(compiled(), {"batch": 2, "model": 8})
    with pytest.raises(ValueError, match="none of the 14 rules finds"):
        distribute(
            compiled(),
            {"batch": 2, "model": 4},
            variable_rules=DALLE_BART_VARIABLES[1:],
        )
    with pytest.raises(ValueError, match="66 must be divisible by 'model'"):
        distribute(compiled(image_vocabulary_size=65), {"batch": 2, "model": 4})
    with pytest.raises(ValueError, match="`None` with an optimizer.*Adafactor"):
        distribute(
            compiled("adafactor", image_vocabulary_size=64),
            {"batch": 1, "model": 8},
            pad_to_multiple_of=8,
        )
    task = make_task()
    task.compile(jit_compile=True)
    with pytest.raises(ValueError, match="compiled with an optimizer"):
        distribute(task, {"batch": 2, "model": 4})
    task = compiled()
    distribute(task, {"batch": 8, "model": 1})
    with pytest.raises(ValueError, match="distributed already.*`gather`"):
        distribute(task, {"batch": 8, "model": 1})
    x, y = make_examples(rows=4)
    with pytest.raises(ValueError, match=r"rows of a batch \(=4\)"):
        task.train_on_batch(x, y)


def test_export_of_what_a_mesh_trained(tmp_path):
    task = tiny_task()
    task.compile(optimizer=OPTIMIZERS["adamw"]())
    before = task.generate("sun", seed=1, return_tokens=True)["image_tokens"]
    placement = distribute(task, {"batch": 4, "model": 2}, pad_to_multiple_of=2)
    examples = {
        "captions": ["sun", "moon"] * 4,
        "image_tokens": np.tile(np.arange(16, dtype="int32"), [8, 1]),
    }
    task.fit(examples, batch_size=8, epochs=3, verbose=0)
    with placement.gathered():
        path = export_saved_model(task, tmp_path)
        after = task.generate("sun", seed=1, return_tokens=True)["image_tokens"]
    assert not np.array_equal(before, after)
    call = SignatureCalls(SavedModelSession(path))
    served = call("generate", prompt=[b"sun"], seed=[1])
    np.testing.assert_array_equal(served["image_tokens"][0], after)
