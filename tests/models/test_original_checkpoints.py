"""`from_preset` on the originals' checkpoints: here, on the Hub, and without network.

The Hub is a server on this machine, which the Hub's real client asks.
"""

import shutil

import numpy as np
import pytest

from keras_dalle.converters.min_dalle import save_min_dalle
from keras_dalle.converters.vqgan_min_dalle import save_min_dalle_vqgan
from keras_dalle.models import (
    DalleBartBackbone,
    DalleBartTextToImage,
    DalleBartTokenizer,
    VQGANBackbone,
)
from tests.converters.tiny_vqgans import tiny_vqgan
from tests.golden.golden_data import ROOT, cases
from tests.models.hub_server import load_with_hub, serve_hub
from tests.models.load_report import fingerprint
from tests.tiny_preset import tiny_task

TOKENIZER = ROOT / "text" / "tokenizer"
VQGAN = "vqgan_imagenet_f16_16384"
# What is loaded from the Hub, class and preset, and its key in `expected`.
LOADS = {
    ("DalleBartTokenizer", "dalle_mini"): "tokenizer",
    ("DalleBartTextToImagePreprocessor", "dalle_mini"): "tokenizer",
    ("DalleBartBackbone", "dalle_mini"): "backbone",
    ("DalleBartTextToImage", "dalle_mini"): "task",
    ("DalleBartTextToImage", "hf://dalle-mini/dalle-mini"): "task",
    ("VQGANBackbone", VQGAN): "vqgan",
    ("DalleBartTextToImage", "hf://someone/tiny"): "tiny",
}
REFUSED = {
    ("DalleBartBackbone", "hf://someone/nothing"): "must be a repository that you may",
    ("DalleBartTokenizer", "hf://someone/tokenizer"): "must hold a config.json",
    ("DalleBartBackbone", "hf://a/b/c"): "must be hf://user/repository. Received: hf:",
}
UNREACHABLE = {
    ("DalleBartTextToImage", "dalle_mega"): "hf download dalle-mini/dalle-mega",
    ("VQGANBackbone", "hf://someone/else"): "`hf://someone/else` must be downloaded",
}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """What the Hub serves: user/repository -> folder."""
    root = tmp_path_factory.mktemp("repositories")
    dalle = root / "dalle-mini"
    shutil.copytree(cases("dallebart")[0], dalle)
    shutil.copytree(TOKENIZER, dalle, dirs_exist_ok=True)
    tiny_task().save_to_preset(str(root / "tiny"), max_shard_size=5e-5)
    return {
        "dalle-mini/dalle-mini": dalle,
        f"dalle-mini/{VQGAN}": cases("vqgan_flax")[0],
        "someone/tiny": root / "tiny",
        "someone/tokenizer": TOKENIZER,
    }


@pytest.fixture(scope="module")
def expected(repositories):
    """Fingerprints of what the folders hold."""
    dalle = repositories["dalle-mini/dalle-mini"]
    vqgan = VQGANBackbone.from_preset(repositories[f"dalle-mini/{VQGAN}"])
    loaded = {
        "tokenizer": DalleBartTokenizer.from_preset(dalle),
        "backbone": DalleBartBackbone.from_preset(dalle),
        "task": DalleBartTextToImage.from_preset(dalle, vqgan=vqgan),
        "vqgan": vqgan,
        "tiny": DalleBartTextToImage.from_preset(repositories["someone/tiny"]),
    }
    return {name: fingerprint(value) for name, value in loaded.items()}


@pytest.fixture(scope="module")
def visits(repositories, tmp_path_factory):
    """Reports of all loads: from the Hub, and then, without it, from its cache."""
    home = tmp_path_factory.mktemp("hf_home")
    with serve_hub(repositories) as hub:
        online = load_with_hub([*LOADS, *REFUSED], hub.url, home)
    offline = load_with_hub([*LOADS, *UNREACHABLE], hub.url, home)
    return {"online": online, "offline": offline}


# === In folders ===


@pytest.mark.parametrize(
    ("case", "loaded_class"),
    [
        *((case, DalleBartBackbone) for case in cases("dallebart")),
        *((case, VQGANBackbone) for case in cases("vqgan_flax")),
        *(
            (path.parent, VQGANBackbone)
            for path in sorted(ROOT.glob("vqgan_torch/*/*.yaml"))
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_golden_folder(case, loaded_class):
    loaded = loaded_class.from_preset(str(case), dtype="bfloat16")
    assert {weight.dtype for weight in loaded.weights} == {"bfloat16"}
    assert any(np.any(np.asarray(weight, "float32")) for weight in loaded.weights)


def test_min_dalle_folder_with_all_its_files(tmp_path):
    tokenizer = DalleBartTokenizer.from_files(TOKENIZER)
    backbone = DalleBartBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_vocabulary_size=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=1,
        hidden_dim=16,
        encoder_intermediate_dim=16,
        decoder_intermediate_dim=16,
    )
    vqgan = tiny_vqgan(image_size=32, codebook_size=16, value_range=(0.0, 1.0))
    save_min_dalle(backbone, tmp_path)
    save_min_dalle_vqgan(vqgan, tmp_path)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(TOKENIZER / name, tmp_path)

    loaded = DalleBartTextToImage.from_preset(
        tmp_path, vqgan=VQGANBackbone.from_preset(tmp_path)
    )
    assert fingerprint(loaded.backbone) == fingerprint(backbone)
    assert fingerprint(loaded.preprocessor.tokenizer) == fingerprint(tokenizer)
    assert loaded.preprocessor.normalize_text
    tokens = np.arange(256)[None] % 16
    np.testing.assert_array_equal(
        loaded.vqgan.decode_images(tokens), vqgan.decode_images(tokens)
    )


def test_a_preset_s_name_does_for_its_vqgan(repositories):
    dalle = repositories["dalle-mini/dalle-mini"]
    vqgan = repositories[f"dalle-mini/{VQGAN}"]
    loaded = DalleBartTextToImage.from_preset(dalle, vqgan=str(vqgan))
    assert fingerprint(loaded.vqgan) == fingerprint(VQGANBackbone.from_preset(vqgan))
    assert DalleBartTextToImage.from_preset(dalle).vqgan is None


@pytest.mark.parametrize(
    ("loaded_class", "message"),
    [
        (DalleBartBackbone, "must hold config.json and flax_model.msgpack. Missing:"),
        (VQGANBackbone, "must hold a VQGAN's weights"),
        (DalleBartTokenizer, "must hold tokenizer.json, or vocab.json and merges.txt"),
    ],
)
def test_folder_without_a_checkpoint(tmp_path, loaded_class, message):
    with pytest.raises(FileNotFoundError, match=message):
        loaded_class.from_preset(tmp_path)


# === On the Hub ===


@pytest.mark.parametrize("when", ["online", "offline"])
def test_what_the_hub_has_equals_its_folder(visits, expected, when):
    for load, report in zip(LOADS, visits[when], strict=False):
        assert report.get("fingerprint") == expected[LOADS[load]], (load, report)


@pytest.mark.parametrize(
    ("when", "messages"), [("online", REFUSED), ("offline", UNREACHABLE)]
)
def test_what_the_hub_does_not_give_is_an_error_at_once(visits, when, messages):
    reports = visits[when][len(LOADS) :]
    for message, report in zip(messages.values(), reports, strict=True):
        assert message in report["message"]
        assert report["seconds"] < 2


def test_only_what_is_needed_is_downloaded(repositories, tmp_path):
    loads = [("DalleBartTokenizer", "dalle_mini")]
    with serve_hub(repositories) as hub:
        (report,) = load_with_hub(loads, hub.url, tmp_path)
    assert "error" not in report
    names = {path.name for path in TOKENIZER.iterdir()}
    assert hub.files_sent() == {"config.json", *names}
    assert all("/dalle-mini/" in request for request in hub.requests)


def test_offline_mode_is_respected(repositories, tmp_path):
    with serve_hub(repositories) as hub:
        (report,) = load_with_hub(
            [("DalleBartBackbone", "dalle_mini")], hub.url, tmp_path, HF_HUB_OFFLINE="1"
        )
    assert report["error"] == "HubError"
    assert "HF_HUB_OFFLINE" in report["message"]
    assert hub.requests == []
