"""The jit variant: XLA compiles the decoder's step, and the tokens are the same.

`tests/test_shipped_preset.py` compares tokens of a trained model. Pixels may differ by
1: beside a compiled function TensorFlow fuses the VQGAN's operations differently.
"""

import json

import numpy as np
import pytest

from keras_dalle.commands.grids import decode_pngs
from keras_dalle.generation.compiled_steps import compiled_steps
from keras_dalle.models.dalle_bart.with_weights import with_weights
from keras_dalle.prediction_service.client import PredictionClient
from keras_dalle.prediction_service.server import PredictionServer
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.card_file import CARD_JSON_FILE, XLA_FLAG
from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.saved_model.graph import read_meta_graph
from keras_dalle.saved_model.graph_rules import find_faults, jit_functions
from keras_dalle.saved_model.model_card import CARD_FILE
from tests.saved_model.signature_calls import SignatureCalls
from tests.tiny_preset import tiny_task

PROMPTS = ["red heart", "red heart:1.2 AND sun:-0.6 AND fog", ""]


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture(scope="module")
def exported(task, tmp_path_factory):
    return export_saved_model(
        task, tmp_path_factory.mktemp("models"), jit=True, warmup_batch_sizes=[]
    )


def test_only_the_decoders_step_is_compiled(exported):
    graph_def = read_meta_graph(exported).graph_def
    names = jit_functions(graph_def)
    assert names
    assert all("decode_step" in name for name in names)
    assert find_faults(graph_def, allow_jit=True) == []


def test_flag_is_on_the_card(exported):
    card = json.loads((exported / CARD_JSON_FILE).read_text(encoding="utf-8"))
    assert card["server_flags"] == [XLA_FLAG]
    assert XLA_FLAG in (exported / CARD_FILE).read_text(encoding="utf-8")


def test_server_draws_what_the_model_in_memory_draws_without_xla(task, exported):
    expected = task.generate(PROMPTS, seed=5, top_k=8)
    server = PredictionServer(exported.parent, port=0, rest_api_port=None)
    server.start()
    with PredictionClient(f"127.0.0.1:{server.port}") as client:
        served = decode_pngs(client.generate(PROMPTS, seed=5, top_k=8))
    server.stop(grace=0)
    difference = np.abs(np.array(served, int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference) < 0.01


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_narrow_weights_are_compiled_too(task, weights, tmp_path):
    path = export_saved_model(
        task, tmp_path, jit=True, weights=weights, warmup_batch_sizes=[]
    )
    graph_def = read_meta_graph(path).graph_def
    assert jit_functions(graph_def)
    assert find_faults(graph_def, allow_jit=True) == []
    session = SavedModelSession(path)
    seeds = np.array([5, 6, 7])
    prompts = [prompt.encode() for prompt in PROMPTS]
    served = SignatureCalls(session)("generate", prompt=prompts, seed=seeds)
    session.close()
    narrow = with_weights(task, weights)
    expected = narrow.generate(PROMPTS, seed=seeds, return_tokens=True)
    np.testing.assert_array_equal(served["image_tokens"], expected["image_tokens"])
    difference = served["image"].astype(int) - expected["images"]
    assert np.abs(difference).max() <= 1


def test_block_ends():
    task = tiny_task()
    with compiled_steps():
        pass
    generate = task.make_generate_function().get_concrete_function()
    assert jit_functions(generate.graph.as_graph_def()) == []
