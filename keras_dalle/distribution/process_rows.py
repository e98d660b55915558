"""Which rows of each batch a process reads."""

import tensorflow as tf

from keras_dalle.distribution.layout_rules import BATCH, MODEL


def process_shard(mesh) -> tuple[int, int]:
    """The number of shards of each batch, and the index of this process's.

    Processes whose devices hold parts of one model need the same rows, and so have the
    same index. It is what `tf.data.Dataset.shard` takes.

    Args:
        mesh: a DTensor mesh.

    Raises:
        ValueError: a process has devices of one and a half rows of the mesh, or such.
    """
    locations = mesh.local_device_locations()
    places = sorted({location[BATCH] for location in locations})
    devices, model = len(locations), mesh.dim_size(MODEL)
    count = len(places)
    whole = places == list(range(places[0], places[0] + count))
    if (devices % model and model % devices) or not whole or places[0] % count:
        raise ValueError(
            f"A process's devices (={devices}) must be a multiple or a divisor of the "
            f"mesh's `model` (={model}), so that each reads whole rows. Choose another "
            "mesh or another number of processes."
        )
    return mesh.dim_size(BATCH) // count, places[0] // count


def local_batches(batches: tf.data.Dataset, mesh) -> tf.data.Dataset:
    """This process's rows of each batch, where every process makes the same batches.

    Training is then what one process would do with them, however many there are.

    Args:
        batches: a dataset of batches whose rows divide by the number of shards.
        mesh: a DTensor mesh.
    """
    count, index = process_shard(mesh)
    if count == 1:
        return batches

    def rows_of(tensor):
        rows = tf.shape(tensor)[0]
        if tensor.shape[0] is not None and tensor.shape[0] % count:
            raise ValueError(
                f"The rows of a batch (={tensor.shape[0]}) must be divisible by the "
                f"number of shards (={count}). Choose such a `batch_size`."
            )
        part = tensor[index * rows // count : (index + 1) * rows // count]
        return tf.ensure_shape(
            part,
            [tensor.shape[0] and tensor.shape[0] // count, *tensor.shape[1:]],
        )

    return batches.map(lambda *batch: tf.nest.map_structure(rows_of, _one(batch)))


def _one(batch):
    """What `map` was given: the elements of a tuple come one by one."""
    return batch if len(batch) > 1 else batch[0]
