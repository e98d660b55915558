"""Models that can continue their training after loading from a `.keras` file.

Keras writes weights, assets, the optimizer's state and the arguments of `compile`. But
it does not compile a model again if the model has its own `compile`. Nor does it write
the states of random numbers, or which layers of a KerasHub model are frozen, although
the optimizer has a state only for the other layers.
"""

import warnings
from typing import Any

import keras
import numpy as np


class Resumable:
    """Lets a model that is loaded from a `.keras` file train on, bit for bit.

    Mix it into a `keras.Model`, in front of it. LoRA is the exception: its factors
    are merged into the kernels in a file, so the optimizer's state for them has no use.
    Such a model loads with a warning: all its layers are trainable, and the optimizer
    begins anew.
    """

    _is_loading = False

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))  # type: ignore[attr-defined]
        # The file's weights come next, and the optimizer's state after these.
        self._is_loading = True

    def save_own_variables(self, store: Any) -> None:
        layers = self._flatten_layers()  # type: ignore[attr-defined]
        frozen = [x.path for x in layers if x.path and not x.trainable]
        optimizer = getattr(self, "optimizer", None)
        store["frozen_layers"] = np.frombuffer("\n".join(frozen).encode(), "uint8")
        has_lora = any(getattr(layer, "lora_enabled", False) for layer in layers)
        store["has_lora"] = np.array(has_lora)
        store["has_trained"] = np.array(optimizer is not None and optimizer.built)
        for number, state in enumerate(self._random_states()):
            store[f"random_state_{number}"] = state

    def load_own_variables(self, store: Any) -> None:
        names = set(store.keys())
        for number, state in enumerate(self._random_states()):
            # Files of earlier versions have none.
            if (name := f"random_state_{number}") in names:
                state.assign(store[name])
        if self._is_loading:
            self._is_loading = False
            self._prepare_training(store, names)

    def _prepare_training(self, store: Any, names: set[str]) -> None:
        """Freezes layers and makes the optimizer's variables, as the file has them."""
        if "has_lora" in names and store["has_lora"]:
            warnings.warn(
                "The model was saved with its LoRA factors merged into its kernels. So "
                "no layer is frozen, and the optimizer begins anew.",
                stacklevel=2,
            )
            return
        if "frozen_layers" in names:
            frozen = bytes(np.asarray(store["frozen_layers"])).decode().split("\n")
            # Parents come first: they also set their layers, which then set their own.
            for layer in self._flatten_layers():  # type: ignore[attr-defined]
                layer.trainable = layer.path not in frozen
        if "has_trained" not in names or store["has_trained"]:
            self.optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]

    def _random_states(self) -> list[Any]:
        """Returns the states of the model's `keras.random.SeedGenerator`s."""
        return [
            variable
            for variable in self.variables  # type: ignore[attr-defined]
            if variable.name == "seed_generator_state"
        ]
