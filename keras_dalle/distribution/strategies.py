"""tf.distribute strategies by name, for models that train through `fit`.

A model is built and compiled in a strategy's `scope()`; that is all `fit` needs. It
gives each replica an equal part of every batch.
"""

import functools
import os

import tensorflow as tf

STRATEGIES = ("default", "mirrored", "tpu")


def make_strategy(name: str = "default") -> tf.distribute.Strategy:
    """Connects to the devices of a strategy.

    Args:
        name: `"default"`, the strategy whose scope is open, or else one device;
            `"mirrored"`, all GPUs of this machine, or all of its logical CPUs where
            it has none; `"tpu"`, the TPU of this virtual machine, or the one that the
            variable `TPU_NAME` names.

    Returns:
        A `tf.distribute.Strategy`. Build and compile the model in its `scope()`.

    Raises:
        ValueError: there is no such strategy.
        RuntimeError: there is no TPU.

    Example:
    ```python
    strategy = make_strategy("mirrored")
    with strategy.scope():
        text_to_image = DalleBartTextToImage.from_preset("emoji_tiny")
        text_to_image.compile()
    batch_size = 16 * strategy.num_replicas_in_sync
    text_to_image.fit(examples, batch_size=batch_size)
    ```
    """
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return _mirrored_strategy()
    if name == "tpu":
        return _tpu_strategy(os.environ.get("TPU_NAME", "local"))
    raise ValueError(f"`name` must be one of {STRATEGIES}. Received: {name!r}")


# Once a process: all-reduces of two mirrored strategies are taken for one another
# ("Shape mismatch in the collective instance"), and connecting to a TPU resets it.
@functools.cache
def _mirrored_strategy() -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@functools.cache
def _tpu_strategy(address: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(address)
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise RuntimeError(
            f"The strategy `tpu` must find a TPU at {address!r}. Received: "
            f"{type(error).__name__}: {str(error).partition('. ')[0]}. Run on a TPU "
            "virtual machine, or set TPU_NAME to the name or grpc:// address of a TPU; "
            "elsewhere choose `default` or `mirrored`."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def check_static_shapes(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset whose batches all have one shape, as a TPU's programs need.

    Raises:
        ValueError: a shape is not known in full.
    """
    for spec in tf.nest.flatten(dataset.element_spec):
        if not spec.shape.is_fully_defined():
            raise ValueError(
                "Batches for a TPU must have static shapes. Received: "
                f"{spec.shape} {spec.dtype.name}. Batch with `drop_remainder=True` "
                "and pad to one length."
            )
    return dataset
