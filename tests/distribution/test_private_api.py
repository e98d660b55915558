import keras
import pytest

from keras_dalle.distribution.private_api import PRIVATE_NAMES, TENSORFLOW_NAMES


def examples():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    optimizer = keras.optimizers.Adafactor(gradient_accumulation_steps=2, use_ema=True)
    optimizer.build(model.trainable_variables)
    return {
        "Variable": model.weights[0],
        "Model": model,
        "Optimizer": optimizer,
        "Adafactor": optimizer,
    }


@pytest.mark.parametrize(
    "kind, name",
    [(kind, name) for kind in PRIVATE_NAMES for name in PRIVATE_NAMES[kind]],
)
def test_keras_still_has(kind, name):
    assert hasattr(examples()[kind], name)


@pytest.mark.parametrize("owner, name", TENSORFLOW_NAMES)
def test_tensorflow_still_has(owner, name):
    assert hasattr(owner, name)
