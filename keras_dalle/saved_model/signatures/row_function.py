"""Functions of rows: every input and output has the batch as its dimension 0."""

# B batch

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

Rows = dict[str, tf.Tensor]

# Pictures and tokens of all rows are in memory at once, and a request of a few hundred
# bytes can repeat a row endlessly. By default a stock server batches up to 1000 rows.
MAX_ROWS = 1024


class Input(NamedTuple):
    """One input of a signature, of shape [B].

    Attributes:
        name: its name on the wire.
        dtype: of its tensor.
        default: for requests of one row; `None` where every request must give it.
    """

    name: str
    dtype: tf.DType
    default: Any = None


def row_function(
    name: str, inputs: Sequence[Input], body: Callable[[Rows], Rows]
) -> Any:
    """A tf.function that can be exported as a signature.

    Args:
        name: of the signature.
        inputs: those without a default first.
        body: from the inputs by name, of equally many rows, to the outputs by name.
    """

    def function(*values: tf.Tensor) -> Rows:
        rows = {given.name: x_B for given, x_B in zip(inputs, values, strict=True)}
        return body(check_rows(rows))

    function.__name__ = name
    # What tf.function and so the signature's `defaults` are made from.
    function.__signature__ = inspect.Signature([_parameter(x) for x in inputs])  # type: ignore[attr-defined]
    specs = [tf.TensorSpec([None], x.dtype, x.name) for x in inputs]
    return tf.function(function, input_signature=specs, autograph=False)


def _parameter(given: Input) -> inspect.Parameter:
    """An argument. A default is made here: at import it would start the devices."""
    default = inspect.Parameter.empty
    if given.default is not None:
        default = tf.constant([given.default], given.dtype)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(given.name, kind, default=default)


def check_rows(inputs: Mapping[str, tf.Tensor]) -> Rows:
    """Returns the inputs, each shaped [B], behind checks that B is equal and bounded.

    Without them a `seed` of one row would silently be broadcast over all prompts.
    """
    # ensure_shape: a session does not compare what is fed with the signature's rank.
    inputs = {name: tf.ensure_shape(x_B, [None]) for name, x_B in inputs.items()}
    sizes = {name: tf.size(x_B) for name, x_B in inputs.items()}
    first = next(iter(sizes))
    equal = tf.reduce_all(tf.stack(list(sizes.values())) == sizes[first])
    received: list[Any] = []
    for name, size in sizes.items():
        received += [f"{name}:", size]
    rule = f"Every input must have as many rows as `{first}`. Received rows:"
    limit = f"A call must have at most {MAX_ROWS} rows. Send them in parts. Received:"
    checks = [
        tf.debugging.Assert(equal, [rule, *received], summarize=1),
        tf.debugging.Assert(sizes[first] <= MAX_ROWS, [limit, sizes[first]]),
    ]
    with tf.control_dependencies(checks):
        return {name: tf.identity(x_B) for name, x_B in inputs.items()}


def join_errors(*texts: tf.Tensor) -> tf.Tensor:
    """All texts of a row behind each other, [B] each; empty for a good row."""
    return tf.strings.strip(tf.strings.join(texts, separator=" "))


def where_good(error_B: tf.Tensor, values: tf.Tensor, otherwise: Any) -> tf.Tensor:
    """`values` [B, ...], and the constant `otherwise` in rows that have an error."""
    shape = tf.concat(
        [tf.shape(error_B), tf.ones([tf.rank(values) - 1], tf.int32)], axis=0
    )
    good = tf.reshape(error_B == "", shape)
    return tf.where(good, values, tf.constant(otherwise, values.dtype))
