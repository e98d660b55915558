"""A good row of each signature of the tiny model, and faulty ones."""

import io

import numpy as np
from PIL import Image

LENGTH, CODES, SIZE, GRID = 16, 32, 8, 4


def file_of(kind, image_HWC, **options):
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height, width, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3), np.uint8)


def smooth(height, width):
    picture = Image.fromarray(noise(4, 4)).resize((width, height), Image.BICUBIC)
    return np.asarray(picture)


def pixels(pngs):
    return np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in pngs])


def packed(tokens_BT):
    return [np.asarray(row, "<i4").tobytes() for row in tokens_BT]


GOOD_FILE = file_of("PNG", noise(9, 9))
DAMAGED = GOOD_FILE[:50] + b"\0" + GOOD_FILE[51:]
LARGE = file_of("PNG", np.zeros((5000, 5000), np.uint8))
JPEG = file_of("JPEG", smooth(60, 60))
GOOD_TOKENS = np.arange(LENGTH, dtype="<i4").tobytes()
HUGE_TOKEN = np.full(LENGTH, CODES, "<i4").tobytes()
LONG = b"x" * 16_385
GOOD_ROWS = {
    "serving_default": {"prompt": b"sun"},
    "generate": {"prompt": b"sun"},
    "tokenize": {"prompt": b"sun"},
    "encode_image": {"image_bytes": GOOD_FILE},
    "decode_tokens": {"image_tokens_bytes": GOOD_TOKENS},
    "decode_chunk": {
        "prompt": b"sun",
        "image_tokens_bytes": GOOD_TOKENS[:20],
        "max_new_tokens": 3,
    },
    "score": {"prompt": b"sun", "image_tokens_bytes": GOOD_TOKENS, "image_bytes": b""},
    "complete_image": {
        "prompt": b"sun",
        "image_bytes": GOOD_FILE,
        "mask_bytes": b"",
        "kept_rows": 2,
    },
}
BAD_FILES = [
    (b"", r"must be a PNG or JPEG file, or 192 bytes of RGB. Received: 0 bytes of"),
    (b"GIF89a", "Received: 6 bytes of another kind."),
    (file_of("WEBP", noise(9, 9)), "PNG or JPEG"),
    (DAMAGED, "must be a whole file. Received: a damaged one."),
    (GOOD_FILE[:20], "damaged"),
    (GOOD_FILE[:-30], "damaged"),
    (JPEG[: len(JPEG) // 2], "damaged"),
    (JPEG[:10], "damaged"),
    (LARGE, "must have at most 16777216 pixels. Received: 5000×5000."),
]
BAD_TOKENS = [
    (GOOD_TOKENS + b"\0", "bytes each. Received: 65 bytes."),
    (GOOD_TOKENS[:3], "Received: 3 bytes."),
    (HUGE_TOKEN, "Image tokens must be from 0 to 31. Received: 32."),
    (GOOD_TOKENS[:-4] + b"\xff" * 4, "Received: -1."),
]
FAULTS = [
    *((name, {"prompt": LONG}, "`prompt` must have at most 16384 bytes.")
      for name in GOOD_ROWS if "prompt" in GOOD_ROWS[name]),
    *((name, {"temperature": -1.0}, "`temperature` must be")
      for name in ("serving_default", "generate", "decode_chunk", "complete_image")),
    ("generate", {"negative_prompt": LONG}, "`negative_prompt` must have at most"),
    *(("encode_image", {"image_bytes": x}, text) for x, text in BAD_FILES),
    *(("decode_tokens", {"image_tokens_bytes": x}, text) for x, text in BAD_TOKENS),
    ("decode_tokens", {"image_tokens_bytes": b""}, "must be 16 int32, 4 bytes each"),
    *(("decode_chunk", {"image_tokens_bytes": x}, text) for x, text in BAD_TOKENS),
    ("decode_chunk", {"max_new_tokens": 0}, "must be at least 1. Received: 0."),
    ("decode_chunk", {"max_new_tokens": -(2**31)}, "Received: -2147483648."),
    *(("score", {"image_tokens_bytes": x}, text) for x, text in BAD_TOKENS),
    *(("score", {"image_tokens_bytes": b"", "image_bytes": x}, text)
      for x, text in BAD_FILES if x),
    ("score", {"image_tokens_bytes": b""}, "Received: neither."),
    ("score", {"image_bytes": GOOD_FILE}, "Received: both."),
    *(("complete_image", {"image_bytes": x}, text) for x, text in BAD_FILES),
    ("complete_image", {"kept_rows": 5}, "from 0 to 4, rows of image tokens"),
    ("complete_image", {"kept_rows": -2}, "Received: -2."),
    ("complete_image", {"kept_rows": -1}, "Received: neither."),
    ("complete_image", {"mask_bytes": GOOD_FILE}, "Received: both."),
    *(("complete_image", {"kept_rows": -1, "mask_bytes": x}, text)
      for x, text in [(JPEG, "a PNG file, or 16 bytes, one an image token"),
                      (DAMAGED, "damaged"), (LARGE, "at most 16777216 pixels")]),
]  # fmt: skip
