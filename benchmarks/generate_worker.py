"""Times one framework at one part of generation, batch by batch, as it is told to.

`generate.py` starts it. It loads a model and answers each line on its standard input,
such as `{"batch": 4}`, with a line of JSON: the seconds of a call for so many pictures,
and the peak of the process's memory during it.

    echo '{"batch": 1}' | PYTHONPATH=. python benchmarks/generate_worker.py \\
        decode.keras_dalle '{"threads": 2}'
"""

# Each framework is imported by its own function: no process holds two of them.

import json
import math
import sys
from pathlib import Path

from benchmarks.generate_models import MINI
from benchmarks.limits import CHANNELS, CODES, LATENT, PIXELS
from benchmarks.workers import answer_requests, seconds_of, use_threads

PROMPT = "an armchair in the shape of an avocado"
GUIDANCE, TOP_K = 10.0, 50
LENGTH = MINI["image_length"]
STREAMED = 32  # min-dalle shows its picture after so many tokens.

# Each function loads a model and makes another, from a batch size to the seconds that
# so many pictures take.


def timed(call):
    return lambda batch: seconds_of(lambda: call(batch))


# === Image tokens ===


def keras_tokens(settings):
    from keras_dalle.models import DalleBartTextToImage

    task = DalleBartTextToImage.from_preset(f"{settings['folder']}/keras_dalle/preset")

    @timed
    def draw(batch):
        task.generate([PROMPT] * batch, guidance_scale=GUIDANCE, top_k=TOP_K, seed=0)

    return draw


def saved_model_tokens(settings):
    """As TF Serving: a session of TensorFlow 1 on the exported graph."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    session = tf1.Session(graph=tf.Graph())
    with session.graph.as_default():
        path = f"{settings['folder']}/keras_dalle/saved_model/1"
        loaded = tf1.saved_model.load(session, ["serve"], path)
    signature = loaded.signature_def["serving_default"]
    names = {key: info.name for key, info in signature.inputs.items()}
    fetches = {key: info.name for key, info in signature.outputs.items()}

    @timed
    def draw(batch):
        row = {
            "prompt": PROMPT,
            "negative_prompt": "",
            "seed": 0,
            "guidance_scale": GUIDANCE,
            "guidance_scale_end": -1.0,
            "temperature": 1.0,
            "top_k": TOP_K,
            "top_p": 1.0,
        }
        feeds = {names[key]: [value] * batch for key, value in row.items()}
        results = session.run(fetches, feeds)
        if any(results["error"]):
            raise ValueError(results["error"])

    return draw


def min_dalle_tokens(settings):
    """With `peer_tokens` below 256 the others are taken to need what the last 32 did.

    min-dalle attends to all 256 positions at every step, so its steps cost the same.
    """
    import torch

    from benchmarks.random_min_dalle import RandomMinDalle

    model = RandomMinDalle(Path(settings["folder"]) / "min_dalle")
    torch.set_num_threads(settings["threads"])  # min-dalle sets it on import.
    parts, all_parts = (x // STREAMED for x in (settings["peer_tokens"], LENGTH))

    def draw(batch):
        stream = model.generate_raw_image_stream(
            PROMPT,
            seed=1,
            grid_size=math.isqrt(batch),
            progressive_outputs=True,
            top_k=TOP_K,
            supercondition_factor=GUIDANCE,
        )
        seconds = [seconds_of(lambda: next(stream)) for _ in range(parts)]
        stream.close()
        return sum(seconds) + (all_parts - parts) * seconds[-1]

    return draw


# === VQGAN ===


def keras_decode(settings):
    import tensorflow as tf

    from keras_dalle.generation.one_by_one import decode_one_by_one
    from keras_dalle.models import VQGANBackbone

    vqgan = VQGANBackbone()
    decode = tf.function(
        lambda tokens_BT: decode_one_by_one(vqgan, tokens_BT),
        input_signature=[tf.TensorSpec([None, LENGTH], tf.int32)],
        autograph=False,
    )
    return timed(lambda batch: decode(_tokens(batch)).numpy())


def min_dalle_decode(settings):
    import torch
    from min_dalle.models import VQGanDetokenizer

    model = VQGanDetokenizer().eval()
    torch.set_num_threads(settings["threads"])  # min-dalle sets it on import.
    return timed(lambda batch: model(False, torch.tensor(_tokens(batch))).numpy())


def keras_encode(settings):
    import tensorflow as tf

    from keras_dalle.models import VQGANBackbone

    vqgan = VQGANBackbone()
    shape = [None, PIXELS, PIXELS, 3]
    encode = tf.function(
        vqgan.encode_images,
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
        autograph=False,
    )
    return timed(lambda batch: encode(_images(batch)).numpy())


def taming_encode(settings):
    """`VQModel.encode` of its parts: importing the class needs PyTorch Lightning."""
    import torch
    from taming.modules.diffusionmodules.model import Encoder
    from taming.modules.vqvae.quantize import VectorQuantizer2

    torch.set_num_threads(settings["threads"])
    encoder = Encoder(
        ch=CHANNELS[0],
        out_ch=3,
        ch_mult=[channels // CHANNELS[0] for channels in CHANNELS],
        num_res_blocks=2,
        attn_resolutions=[16],
        in_channels=3,
        resolution=PIXELS,
        z_channels=LATENT,
        double_z=False,
    ).eval()
    quant_conv = torch.nn.Conv2d(LATENT, LATENT, 1)
    quantize = VectorQuantizer2(CODES, LATENT, beta=0.25)

    @timed
    @torch.inference_mode()
    def encode(batch):
        images = torch.tensor(_images(batch)).permute(0, 3, 1, 2).contiguous()
        latents = quant_conv(encoder(images.float() / 127.5 - 1))
        quantize(latents)[2][2].numpy()

    return encode


def _tokens(batch):
    import numpy as np

    return np.random.default_rng(0).integers(0, CODES, (batch, LENGTH), "int32")


def _images(batch):
    import numpy as np

    shape = (batch, PIXELS, PIXELS, 3)
    return np.random.default_rng(0).integers(0, 256, shape, "uint8")


# === Rounds ===

LOADERS = {
    "tokens.keras_dalle": keras_tokens,
    "tokens.saved_model": saved_model_tokens,
    "tokens.min_dalle": min_dalle_tokens,
    "decode.keras_dalle": keras_decode,
    "decode.min_dalle": min_dalle_decode,
    "encode.keras_dalle": keras_encode,
    "encode.taming": taming_encode,
}


def load_machine(settings):
    """Measures the machine itself, as one more framework."""
    import tensorflow  # noqa: F401

    from benchmarks.limits import measure_machine

    return lambda: measure_machine(settings["threads"])


def load_framework(name, settings):
    seconds = LOADERS[name](settings)
    return lambda batch: {"seconds": seconds(batch)}


def main():
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    use_threads(settings["threads"])
    if name == "machine":
        answer_requests(lambda: load_machine(settings))
    else:
        answer_requests(lambda: load_framework(name, settings))


if __name__ == "__main__":
    main()
