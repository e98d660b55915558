"""`PatchDiscriminator` against taming-transformers', on every golden case."""

import numpy as np
import pytest

from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.vqgan_discriminator import discriminator_from_tensors
from tests.golden.golden_data import ROOT, assert_as_exact_as, check_found, load_npz

CASES = sorted((ROOT / "vqgan_torch").glob("patchgan*.npz"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_logits(path):
    golden = load_npz(path)
    tensors = {
        name.removeprefix("state/"): StoredTensor.of(array)
        for name, array in golden.items()
        if name.startswith("state/")
    }
    images = np.transpose(golden["x_nchw"], (0, 2, 3, 1))
    discriminators = [
        discriminator_from_tensors(tensors, source=path.name, dtype=dtype)
        for dtype in ("float32", "float64")
    ]
    for name, training in (("logits_eval_nchw", False), ("logits_train_nchw", True)):
        ours = [
            np.transpose(discriminator(images, training=training), (0, 3, 1, 2))
            for discriminator in discriminators
        ]
        assert_as_exact_as(*ours, golden[name], name)


def test_there_are_cases():
    check_found(CASES)
