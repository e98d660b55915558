"""A VQGAN that does not fit its model is refused when both are put together."""

from types import SimpleNamespace

import pytest

from keras_dalle.models import DalleBartTextToImage
from keras_dalle.models.vqgan.fitting import require_fitting_vqgan
from tests.converters.tiny_vqgans import tiny_vqgan
from tests.tiny_preset import tiny_task


def _model(codes, start=None, tokens=16):
    return SimpleNamespace(
        image_vocabulary_size=codes,
        decoder_start_token_id=codes if start is None else start,
        image_length=tokens,
    )


def _vqgan(codes, grid=4):
    return SimpleNamespace(codebook_size=codes, grid_size=grid)


@pytest.mark.parametrize(
    ("model", "codes"),
    [
        (_model(1024), 1024),
        # The released ones have rows for special tokens behind the 16,384 codes.
        (_model(16391, start=16384), 16384),
        (_model(16415, start=16384), 16384),
    ],
)
def test_as_many_codes_as_the_model_draws(model, codes):
    require_fitting_vqgan(model, _vqgan(codes))


@pytest.mark.parametrize(
    ("model", "vqgan", "message"),
    [
        (_model(1024), _vqgan(1023), "must have the 1024 codes.*Received: 1023 codes"),
        (_model(1024), _vqgan(2048), "must have the 1024 codes.*Received: 2048 codes"),
        (_model(16415, start=16384), _vqgan(8192), "16384 to 16415 codes.*8192"),
        (_model(64), _vqgan(64, grid=5), r"16 image tokens.*5×5 tokens \(=25\)"),
    ],
)
def test_others_are_refused(model, vqgan, message):
    with pytest.raises(ValueError, match=message):
        require_fitting_vqgan(model, vqgan)


def test_the_task_refuses_them_too():
    task = tiny_task()
    with pytest.raises(ValueError, match="must have the 32 codes"):
        DalleBartTextToImage(task.backbone, task.preprocessor, tiny_vqgan())
