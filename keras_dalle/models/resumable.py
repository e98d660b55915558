"""Models that come back from a `.keras` file ready to train on.

Keras writes weights, assets, the optimizer's state and the arguments of `compile`, but
compiles no model with a `compile` of its own again. Nor does it write the states of
random numbers, nor which layers of a KerasHub model are frozen, although an optimizer's
state is for the others alone.
"""

import warnings
from typing import Any

import keras
from keras import ops


class Resumable:
    """Lets a model that is loaded from a `.keras` file train on, bit for bit.

    To be mixed into a `keras.Model`, in front of it. LoRA is the exception: its factors
    are merged into the kernels that a file has, so that an optimizer's state for them
    has no use. Such a model comes back as it is constructed, with a warning.
    """

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()  # type: ignore[misc]
        layers = self._flatten_layers()  # type: ignore[attr-defined]
        if not config:
            return {}
        if any(getattr(layer, "lora_enabled", False) for layer in layers):
            return {"has_lora": True}
        optimizer = self.optimizer  # type: ignore[attr-defined]
        return {
            **config,
            "frozen_layers": [x.path for x in layers if x.path and not x.trainable],
            "has_trained": optimizer is not None and optimizer.built,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        if config.get("has_lora"):
            warnings.warn(
                "The model was saved with its LoRA factors merged into its kernels, so "
                "the state of its optimizer was left out. Call `compile` before `fit`.",
                stacklevel=2,
            )
            return
        arguments = keras.saving.deserialize_keras_object(config)
        # Files of earlier versions lack both.
        frozen = arguments.pop("frozen_layers", None)
        has_trained = arguments.pop("has_trained", True)
        if frozen is not None:
            # Parents come first, and hand on to their layers what these then override.
            for layer in self._flatten_layers():  # type: ignore[attr-defined]
                layer.trainable = layer.path not in frozen
        self.compile(**arguments)  # type: ignore[attr-defined]
        if has_trained:
            # Its variables, to which Keras then gives the values of the file.
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]

    def save_own_variables(self, store: Any) -> None:
        for number, state in enumerate(self._random_states()):
            store[str(number)] = ops.convert_to_numpy(state)

    def load_own_variables(self, store: Any) -> None:
        states = self._random_states()
        # Other rates of dropout have other states, files of earlier versions none.
        if len(store.keys()) == len(states):
            for number, state in enumerate(states):
                state.assign(store[str(number)])

    def _random_states(self) -> list[Any]:
        """The states of the model's `keras.random.SeedGenerator`s."""
        return [
            variable
            for variable in self.variables  # type: ignore[attr-defined]
            if variable.name == "seed_generator_state"
        ]
