"""Models whose variables come to life with a checkpoint's values, or never do.

Keras gives every variable random numbers as soon as it is made. Where a checkpoint
follows, that costs minutes and a second copy of each tensor for DALL·E Mega; and where
the model is only written to another file, it needs no values in memory at all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np

# Keras has no public way to make a variable later than its layer, although it does so
# itself for layers that are first called in a `StatelessScope`.
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import in_stateless_scope

_UNINITIALIZED = "uninitialized_variables"
_on_demand = ContextVar("on_demand", default=False)


@contextmanager
def values_on_demand() -> Iterator[None]:
    """Leaves models without values in memory that are loaded in the block.

    Whenever the value of such a variable is asked for, it is read from the checkpoint
    anew. So a model can be written to another file with one tensor in memory at a
    time; it is of no use for anything else.
    """
    token = _on_demand.set(True)
    try:
        yield
    finally:
        _on_demand.reset(token)


@contextmanager
def deferred_variables() -> Iterator[None]:
    """Gives the variables that are made in the block their values when it ends.

    The values are those that `set_value` was given, and what the initializers say for
    the other variables. None gets one if the block fails, or in `values_on_demand`.
    """
    if in_stateless_scope():  # whose end gives values to the variables
        yield
        return
    before = global_state.get_global_attribute(_UNINITIALIZED, [])
    made: list[Any] = []
    global_state.set_global_attribute(_UNINITIALIZED, made)
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
        for variable in made if not _on_demand.get() else ():
            variable._deferred_initialize()
    finally:
        global_state.set_global_attribute(_UNINITIALIZED, before)


def set_value(variable: Any, read: Callable[[], np.ndarray]) -> None:
    """Gives a variable the array that `read` returns.

    Args:
        variable: a Keras variable; if it is a deferred one, `read` is called when it
            gets its value.
        read: reads an array of the variable's shape and dtype.
    """
    if variable._value is not None:
        variable.assign(read())
        return
    initializer = variable._initializer

    def value(shape: Any, dtype: Any = None) -> Any:
        # A graph that is traced for shapes must not hold the checkpoint.
        return initializer(shape, dtype=dtype) if in_stateless_scope() else read()

    variable._initializer = value
