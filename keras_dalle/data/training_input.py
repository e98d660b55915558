"""Training batches as a pure function of the step, so that a run can resume."""

from typing import Any

import tensorflow as tf


def training_batches(
    arrays: Any,
    batch_size: int,
    *,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Endless shuffled batches, from any step on.

    Every pass over the examples has its own order, drawn from `seed` and the number of
    the pass. A batch is thus known from its step alone: a run that resumes at a step
    sees the same batches as one that was never stopped.

    Args:
        arrays: NumPy arrays, in any nest, with the examples in dimension 0.
        batch_size: int. Examples a batch; a last incomplete batch of a pass is left
            out.
        seed: int. Seed of the order.
        first_step: int. The step that the first batch belongs to.

    Returns:
        A dataset of batches with the structure of `arrays`.

    Raises:
        ValueError: `batch_size` is over the number of examples.
    """
    count = len(next(iter(tf.nest.flatten(arrays))))
    steps_per_pass = count // batch_size
    if not steps_per_pass:
        raise ValueError(
            f"`batch_size` (={batch_size}) must not exceed the number of examples "
            f"(={count})."
        )
    tensors = tf.nest.map_structure(tf.constant, arrays)

    def batch_of(step):
        this_pass = step // steps_per_pass
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count), seed=tf.stack([tf.cast(seed, tf.int64), this_pass])
        )
        start = tf.cast(step % steps_per_pass, tf.int32) * batch_size
        rows = order[start : start + batch_size]
        rows = tf.ensure_shape(rows, [batch_size])
        return tf.nest.map_structure(lambda array: tf.gather(array, rows), tensors)

    steps = tf.data.Dataset.range(first_step, tf.int64.max)
    return steps.map(batch_of).prefetch(2)
