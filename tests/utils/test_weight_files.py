"""Half-precision preset files load as before, at half the size."""

import h5py
import numpy as np

from keras_dalle.models import DalleBartTextToImage
from keras_dalle.utils.weight_files import store_half_precision
from tests.tiny_preset import tiny_task


def test_store_half_precision(tmp_path):
    task = tiny_task()
    task.save_to_preset(str(tmp_path))
    files = sorted(tmp_path.glob("*.weights.h5"))
    assert [file.name for file in files] == ["model.weights.h5", "task.weights.h5"]
    stored = {file: _bytes_of_arrays(file) for file in files}

    store_half_precision(tmp_path)

    for file in files:
        assert _bytes_of_arrays(file) <= stored[file] / 2 + 64
    loaded = DalleBartTextToImage.from_preset(str(tmp_path))
    pairs = zip(loaded.weights, task.weights, strict=True)
    for weight, original in pairs:
        assert weight.dtype == original.dtype
        half = np.asarray(original).astype("float16").astype(original.dtype)
        if weight.dtype == "float32":
            np.testing.assert_array_equal(weight, half, err_msg=weight.path)


def _bytes_of_arrays(path):
    sizes = []
    with h5py.File(path) as file:
        file.visititems(
            lambda _, item: sizes.append(getattr(item, "nbytes", 0)) or None
        )
    return sum(sizes)
