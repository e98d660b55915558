import json
import subprocess
import sys

import keras
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_hub.tokenizers import Tokenizer

from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.text.vocabulary import SPECIAL_TOKENS, train_vocabulary

PROMPTS = ["a red heart", "", "  two\n\nhearts\x00 😀", "woman: dark skin <mask> tone"]
IDS, MERGES = train_vocabulary(PROMPTS * 2, 290)


@pytest.fixture(scope="module")
def tokenizer():
    return DalleBartTokenizer(IDS, MERGES)


def test_shapes_and_dtypes(tokenizer):
    batch, one = tokenizer(PROMPTS), tokenizer(PROMPTS[0])
    assert isinstance(batch, tf.RaggedTensor) and batch.dtype == tf.int32
    assert batch.shape.as_list() == [4, None]
    assert one.dtype == tf.int32 and one.numpy().tolist() == batch[0].numpy().tolist()
    assert batch[1].numpy().tolist() == []
    assert tokenizer(tf.constant(PROMPTS)).to_list() == batch.to_list()


ANY_TEXT = st.one_of(
    st.text(max_size=50),
    # What pre-tokens, markers and special tokens are about.
    st.text(
        " \n\t\x00\x7f\x85\xa0\u200d\u3000\ufeff\ufffd'</>smaskréλ猫😀é7٣", max_size=50
    ),
).filter(lambda text: not any(token in text for token in SPECIAL_TOKENS))


@given(st.lists(ANY_TEXT, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_round_trip(tokenizer, texts):
    encoded = [text.encode() for text in texts]
    assert tokenizer.detokenize(tokenizer(texts)).numpy().tolist() == encoded


def test_detokenize_leaves_out_special_tokens(tokenizer):
    ids = tokenizer("a red heart").numpy().tolist()
    assert tokenizer.detokenize([[0, *ids, 2, 1, 1]]).numpy() == [b"a red heart"]
    assert tokenizer.detokenize(ids).numpy() == b"a red heart"
    several = tokenizer.detokenize([ids, ids[:1], []]).numpy().tolist()
    assert several[0] == b"a red heart" and several[2] == b""


@pytest.mark.parametrize("ids", ["a", None, 5, [1.5], [None], [["a"]]])
def test_what_are_no_ids(tokenizer, ids):
    with pytest.raises(ValueError, match="`inputs` must be integers"):
        tokenizer.detokenize(ids)


@pytest.mark.parametrize("texts", [7, None, ["a", 3], [["a"]]])
def test_what_are_no_texts(tokenizer, texts):
    with pytest.raises(ValueError, match="`inputs` must be a text, or a list of texts"):
        tokenizer.tokenize(texts)


def test_what_is_no_token(tokenizer):
    with pytest.raises(ValueError, match="must be in the vocabulary. .*'a'"):
        tokenizer.token_to_id(["a"])


def test_vocabulary_methods(tokenizer):
    assert tokenizer.vocabulary_size() == len(tokenizer.get_vocabulary()) == len(IDS)
    special = tokenizer.start_token_id, tokenizer.pad_token_id, tokenizer.end_token_id
    assert special == (0, 1, 2)
    assert set(tokenizer.special_tokens) == {"<s>", "<pad>", "</s>"}
    assert tokenizer.id_to_token(tokenizer.token_to_id("Ġred")) == "Ġred"
    with pytest.raises(ValueError, match="token='no such'"):
        tokenizer.token_to_id("no such")
    with pytest.raises(ValueError, match="id=290"):
        tokenizer.id_to_token(290)


def test_in_tf_data_and_tf_function(tokenizer):
    expected = tokenizer(PROMPTS).to_list()
    rows = tf.data.Dataset.from_tensor_slices(PROMPTS).map(tokenizer)
    assert [row.tolist() for row in rows.as_numpy_iterator()] == expected
    batches = tf.data.Dataset.from_tensor_slices(PROMPTS).batch(3).map(tokenizer)
    assert [row for batch in batches for row in batch.to_list()] == expected
    assert tf.function(tokenizer)(tf.constant(PROMPTS)).to_list() == expected


def test_saved_model_needs_tensorflow_alone(tokenizer, tmp_path):
    module = tf.Module()
    module.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="prompt")])
    def tokenize(prompt):
        ids = tokenizer(prompt)
        return {"ids": ids.to_tensor(-1), "text": tokenizer.detokenize(ids)}

    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=tokenize)
    prompts = PROMPTS[:3]
    script = f"""
import json, sys
import tensorflow as tf
serve = tf.saved_model.load({str(tmp_path / "saved")!r}).signatures["serving_default"]
out = serve(prompt=tf.constant({prompts!r}))
assert not {{"keras_dalle", "keras_hub", "tensorflow_text"}} & set(sys.modules)
print(json.dumps([out["ids"].numpy().tolist(), out["text"].numpy()[2].decode()]))
"""
    reply = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert reply.returncode == 0, reply.stderr
    ids, text = json.loads(reply.stdout.splitlines()[-1])
    assert ids == tokenizer(prompts).to_tensor(-1).numpy().tolist()
    assert text == prompts[2]


def test_assets_and_config(tokenizer, tmp_path):
    tokenizer.save_assets(str(tmp_path))
    config = keras.saving.serialize_keras_object(tokenizer)
    assert len(json.dumps(config)) < 1000
    restored = keras.saving.deserialize_keras_object(config)
    restored.load_assets(str(tmp_path))
    assert restored.merges == MERGES and dict(restored.vocabulary) == IDS
    assert list(restored.get_vocabulary()) == list(IDS)
    assert restored(PROMPTS).to_list() == tokenizer(PROMPTS).to_list()
    assert restored.pad_token_id == 1
    by_path = DalleBartTokenizer(tmp_path / "vocabulary.json", tmp_path / "merges.txt")
    assert by_path(PROMPTS).to_list() == tokenizer(PROMPTS).to_list()


def test_preset(tokenizer, tmp_path):
    backbone = DalleBartBackbone(
        vocabulary_size=len(IDS),
        image_vocabulary_size=5,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=1,
        hidden_dim=4,
        encoder_intermediate_dim=4,
        decoder_intermediate_dim=4,
        max_text_length=8,
        image_length=4,
    )
    backbone.save_to_preset(str(tmp_path))
    tokenizer.save_to_preset(str(tmp_path))
    for cls in (DalleBartTokenizer, Tokenizer):
        restored = cls.from_preset(str(tmp_path))
        assert isinstance(restored, DalleBartTokenizer)
        assert restored(PROMPTS).to_list() == tokenizer(PROMPTS).to_list()


def test_without_a_vocabulary():
    tokenizer = DalleBartTokenizer()
    assert tokenizer.start_token_id is None
    for use in (
        lambda: tokenizer("a"),
        lambda: tokenizer.detokenize([5]),
        lambda: tokenizer.vocabulary_size(),
        lambda: tokenizer.save_assets("unused"),
    ):
        with pytest.raises(ValueError, match="must have a vocabulary.*from_files"):
            use()


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="given together.*merges=None"):
        DalleBartTokenizer(IDS)
    with pytest.raises(ValueError, match="given together.*vocabulary=None"):
        DalleBartTokenizer(merges=MERGES)
    with pytest.raises(ValueError, match="Cannot find special token `'<pad>'`"):
        DalleBartTokenizer({"<s>": 0, "</s>": 1}, [])
    with pytest.raises(FileNotFoundError, match="must exist"):
        DalleBartTokenizer(str(tmp_path / "vocabulary.json"), [])
    with pytest.raises(ValueError, match="config must not hold"):
        DalleBartTokenizer.from_config({"vocabulary": "/etc/hostname", "merges": []})
