import keras
import numpy as np

from keras_dalle.distribution.padding import without_padding


def test_outputs_are_cut_to_their_logical_width():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(5)])
    assert without_padding(model, np.zeros((3, 8))).shape == (3, 5)
