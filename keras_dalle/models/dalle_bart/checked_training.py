"""`fit` and similar methods, with errors that name the faults of their data."""

from typing import Any

import keras
import numpy as np

from keras_dalle.models.dalle_bart.training_inputs import (
    checked_arrays,
    told_by_name,
)
from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import count

# `keras_hub.models.Task` stands behind this among a class's bases.
_Task: Any = object


class CheckedTraining(_Task):
    """Stands before `keras_hub.models.Task` among a class's bases."""

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        sample_weight=None,
        validation_data=None,
        validation_split=None,
        class_weight=None,
        **kwargs,
    ):
        """Calls `keras.Model.fit` on captions with pictures or image tokens.

        Arrays and lists are read in their order; `shuffle` has no effect. To shuffle,
        give a dataset: `tf.data.Dataset.from_tensor_slices(x).shuffle(1000).batch(32)`.

        Args:
            x: a dictionary of `captions` and one of `images` (pictures of any size in
                a list or an array, as `generate` takes them) and `image_tokens` (int
                [N, T]), or a `tf.data.Dataset` of batches of such dictionaries.
            y: `None`, since `x` holds the targets; given only without a preprocessor.
            batch_size: int or `None`. For arrays; datasets are batched already.
            sample_weight: [N] or [N, T].
            validation_data: as `x`, or a tuple of `x`, `y` and `sample_weight`.
            validation_split: float. The share of the arrays to keep for validation.
            class_weight: must be `None`.
            **kwargs: see `keras.Model.fit`.

        Raises:
            ValueError: the data have another form, or break a rule.
        """
        _check_class_weight(class_weight)
        if validation_data is not None:
            validation_data = _checked_validation_data(self, validation_data)
        x = checked_arrays(self, x)
        y = _kept_with_weights(x, y, sample_weight)
        _check_batch_size(batch_size)
        with told_by_name():
            return super().fit(
                x=x,
                y=y,
                batch_size=batch_size,
                sample_weight=sample_weight,
                validation_data=validation_data,
                validation_split=validation_split,
                **kwargs,
            )

    def evaluate(self, x=None, y=None, batch_size=None, sample_weight=None, **kwargs):
        """Calls `keras.Model.evaluate` on the same data as `fit` takes."""
        # `fit` checked and preprocessed the data that Keras keeps.
        if not kwargs.get("_use_cached_eval_dataset"):
            x = checked_arrays(self, x)
            y = _kept_with_weights(x, y, sample_weight)
            _check_batch_size(batch_size)
        with told_by_name():
            return super().evaluate(x, y, batch_size, sample_weight, **kwargs)

    def predict(self, x=None, batch_size=None, **kwargs):
        """Calls `keras.Model.predict` on the same data as `fit`: logits [N, T, V]."""
        _check_batch_size(batch_size)
        with told_by_name():
            return super().predict(checked_arrays(self, x), batch_size, **kwargs)

    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, **kwargs
    ):
        """Calls `keras.Model.train_on_batch` on the same data as `fit` takes."""
        _check_class_weight(class_weight)
        with told_by_name():
            return super().train_on_batch(
                checked_arrays(self, x), y, _array(sample_weight), **kwargs
            )

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Calls `keras.Model.test_on_batch` on the same data as `fit` takes."""
        with told_by_name():
            return super().test_on_batch(
                checked_arrays(self, x), y, _array(sample_weight), **kwargs
            )

    def predict_on_batch(self, x, **kwargs):
        """Calls `keras.Model.predict_on_batch` on the same data as `fit` takes."""
        with told_by_name():
            return super().predict_on_batch(checked_arrays(self, x), **kwargs)


def _check_class_weight(class_weight: Any) -> None:
    if class_weight is not None:
        raise ValueError(
            "`class_weight` must be `None`, since the classes are image tokens. "
            f"Received: {shortened(class_weight)}. Weigh pictures by `sample_weight`."
        )


def _checked_validation_data(task: Any, validation_data: Any) -> Any:
    if not isinstance(validation_data, tuple):
        return checked_arrays(task, validation_data)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(validation_data)
    x = checked_arrays(task, x)
    return x, _kept_with_weights(x, y, sample_weight), sample_weight


def _kept_with_weights(x: Any, y: Any, sample_weight: Any) -> Any:
    """Returns `y`, or a stand-in for `None`, so that Keras keeps the weights.

    Keras's tuples of x, y and weights end at the first `None`. The targets are in
    `x`.
    """
    if sample_weight is None or not isinstance(x, dict):
        return y
    rows = len(next(iter(x.values())))
    if np.ndim(sample_weight) not in (1, 2) or len(sample_weight) != rows:
        raise ValueError(
            f"`sample_weight` must be one per picture (={rows}), or one per image "
            f"token. Received: {list(np.shape(sample_weight))}."
        )
    return np.zeros(rows) if y is None else y


def _array(sample_weight: Any) -> Any:
    return (
        np.asarray(sample_weight) if isinstance(sample_weight, list) else sample_weight
    )


def _check_batch_size(batch_size: Any) -> None:
    if batch_size is not None:
        count("batch_size", batch_size)
