"""Pictures and masks from outside, as a person sees them."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from keras_dalle.utils.image_files import read_image, read_mask

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("ending", ["png", "webp", "bmp", "tiff"])
def test_pixels_of_every_format(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    Image.fromarray(PIXELS).save(path, lossless=True)
    np.testing.assert_array_equal(read_image(path), PIXELS)


def test_other_modes(tmp_path):
    def read(image, name="x.png"):
        image.save(tmp_path / name)
        return read_image(tmp_path / name)

    grey = PIXELS[:, :, 0]
    as_rgb = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read(Image.fromarray(grey)), as_rgb)
    deep = Image.fromarray(grey.astype(np.uint16) << 8)
    np.testing.assert_array_equal(read(deep), as_rgb)
    with_palette = Image.new("P", (2, 1))
    with_palette.putpalette([9, 8, 7])
    assert (read(with_palette) == [9, 8, 7]).all()
    frames = [Image.new("RGB", (4, 4), name) for name in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "x.gif") == [255, 0, 0]).all(), "the first frame"


def test_transparency_is_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = 10, 20, 30, 255
    pixels[0, 1] = 0, 0, 0, 128
    Image.fromarray(pixels).save(tmp_path / "x.png")
    read = read_image(tmp_path / "x.png")
    assert read[0, 0].tolist() == [10, 20, 30]
    assert read[0, 1].tolist() == [127, 127, 127]
    assert (read[1] == 255).all()


def test_a_camera_held_sideways(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), np.rot90(PIXELS, -1))


def test_a_mask_is_what_is_white(tmp_path):
    white = RNG.random((16, 24)) < 0.5
    large = np.kron(white, np.ones((8, 8))) > 0  # as large as JPEG's blocks
    Image.fromarray(large).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "x.png"), large)
    Image.fromarray((large * 255).astype(np.uint8)).save(tmp_path / "x.jpg", quality=20)
    np.testing.assert_array_equal(read_mask(tmp_path / "x.jpg"), large)
    deep = Image.fromarray(np.where(large, 65535, 300).astype(np.uint16))
    deep.save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "deep.png"), large)
    opaque = Image.fromarray(large).convert("RGBA")
    opaque.save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "opaque.png"), large)


def mask_of(path, image, **options):
    image.save(path, **options)
    return read_mask(path)


def test_a_mask_of_zeros_and_ones(tmp_path):
    ones = RNG.random((9, 11)) < 0.3
    for kind in (np.uint8, np.uint16):
        mask = mask_of(tmp_path / "x.png", Image.fromarray(ones.astype(kind)))
        np.testing.assert_array_equal(mask, ones)
    rgb = np.repeat(ones[..., None], 3, axis=-1).astype(np.uint8)
    assert (
        mask_of(tmp_path / "x.webp", Image.fromarray(rgb), lossless=True) == ones
    ).all()
    twos = Image.fromarray(ones.astype(np.uint8) * 2)
    assert not mask_of(tmp_path / "x.png", twos).any(), "it is as good as black"
    assert not mask_of(tmp_path / "x.png", Image.new("L", (3, 3))).any()
    black_with_noise = Image.fromarray(np.ones((8, 8), np.uint8))
    assert not mask_of(tmp_path / "x.jpg", black_with_noise).any()


def test_a_mask_is_drawn_where_it_is_transparent(tmp_path):
    hole = np.zeros((12, 10), bool)
    hole[3:7, 2:9] = True
    photo = RNG.integers(0, 256, (12, 10, 3)).astype(np.uint8)
    for pixels in (photo, np.zeros_like(photo)):
        erased = np.dstack([pixels, np.where(hole, 20, 255).astype(np.uint8)])
        for name, options in (("x.png", {}), ("x.webp", {"lossless": True})):
            mask = mask_of(tmp_path / name, Image.fromarray(erased), **options)
            np.testing.assert_array_equal(mask, hole)
    grey = Image.fromarray(np.where(hole, 77, 0).astype(np.uint8))
    mask = mask_of(tmp_path / "x.png", grey, transparency=77)
    np.testing.assert_array_equal(mask, hole)
    assert mask_of(tmp_path / "x.png", Image.new("RGBA", (2, 2))).all()
    strokes = np.dstack([np.full_like(photo, 255), np.uint8(255) * ~hole])
    with pytest.raises(ValueError, match="x.png, in which all others are white"):
        mask_of(tmp_path / "x.png", Image.fromarray(strokes))


# === Colours that Pillow alone would get wrong ===


def chunk(name, content):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(samples_HWC, depth, transparent):
    """A PNG of grey or RGB with one transparent colour, by the specification."""
    height, width, channels = samples_HWC.shape
    lines = b""
    for row in samples_HWC.reshape(height, -1):
        bits = "".join(f"{sample:0{depth}b}" for sample in row)
        bits += "0" * (-len(bits) % 8)
        lines += b"\0" + int(bits, 2).to_bytes(len(bits) // 8)
    kind = 0 if channels == 1 else 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(f">{channels}H", *transparent))
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "depth, channels", [(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (8, 3)]
)
def test_one_transparent_colour_is_white(tmp_path, depth, channels):
    most = 2**depth - 1
    samples = RNG.integers(0, most + 1, (7, 5, channels))
    samples[2, 3] = samples[4, 1]
    samples[0, 0] = most - samples[4, 1]
    (tmp_path / "x.png").write_bytes(png(samples, depth, samples[4, 1].tolist()))
    is_clear = (samples == samples[4, 1]).all(-1, keepdims=True)
    expected = np.where(is_clear, 255, samples * 255 // most)
    read = read_image(tmp_path / "x.png").astype(int)
    np.testing.assert_allclose(read, np.broadcast_to(expected, read.shape), atol=1)
    assert (read[[2, 4], [3, 1]] == 255).all()


def test_a_transparent_colour_of_48_bits_is_refused(tmp_path):
    samples = RNG.integers(0, 2**16, (3, 3, 3))
    (tmp_path / "x.png").write_bytes(png(samples, 16, samples[1, 1].tolist()))
    for read in (read_image, read_mask):
        with pytest.raises(ValueError, match="^A PNG of 16 bits .*x.png. Save it with"):
            read(tmp_path / "x.png")


def tiff(content, size, bits, photometry, *, samples=1, extra=None):
    """An uncompressed TIFF, little-endian."""
    width, height = size
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometry)]
    tags += [(273, 8), (277, samples), (278, height), (279, len(content))]
    tags += [] if extra is None else [(338, extra)]
    entries = b""
    for tag, value in tags:
        count = samples if tag == 258 else 1
        packed = struct.pack(f"<{count}H", *[value] * count) if count < 3 else b""
        entries += struct.pack("<HHI", tag, 3, count) + packed.ljust(4, b"\0")
    place = 8 + len(content)
    return (
        struct.pack("<2sHI", b"II", 42, place)
        + content
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


@pytest.mark.parametrize(
    "bits, photometry", [(8, 1), (8, 0), (12, 1), (16, 1), (16, 0)]
)
def test_deep_grey_of_tiff(tmp_path, bits, photometry):
    values = RNG.integers(0, 2**bits, (4, 6))
    content = b"".join(
        sum(int(value) << bits * i for i, value in enumerate(reversed(pair))).to_bytes(
            bits // 4, "big"
        )
        for pair in values.reshape(-1, 2)
    )
    if bits == 16:
        content = values.astype("<u2").tobytes()
    (tmp_path / "x.tif").write_bytes(tiff(content, (6, 4), bits, photometry))
    shown = values if photometry else 2**bits - 1 - values
    expected = np.repeat((shown * 255 / (2**bits - 1))[..., None], 3, axis=2)
    np.testing.assert_allclose(read_image(tmp_path / "x.tif"), expected, atol=1)


@pytest.mark.parametrize("extra", [2, 1], ids=["alpha", "premultiplied"])
def test_grey_with_alpha_in_tiff(tmp_path, extra):
    grey_and_alpha = np.array([[[60, 255], [60, 128], [0, 0]]], np.uint8)
    content = tiff(grey_and_alpha.tobytes(), (3, 1), 8, 1, samples=2, extra=extra)
    (tmp_path / "x.tif").write_bytes(content)
    clear = 60 * 128 // 255 + 127 if extra == 2 else 60 + 127
    read = read_image(tmp_path / "x.tif")[0, :, 0].astype(int)
    np.testing.assert_allclose(read, [60, clear, 255], atol=1)


def test_colours_of_print_and_video(tmp_path):
    for mode, name in (("CMYK", "x.jpg"), ("CMYK", "x.tif"), ("YCbCr", "y.jpg")):
        image = Image.new("RGB", (16, 8), (200, 60, 20)).convert(mode)
        image.save(tmp_path / name, **({"quality": 100} if "jpg" in name else {}))
        read = read_image(tmp_path / name).astype(int)
        np.testing.assert_allclose(read, np.full_like(read, (200, 60, 20)), atol=3)
    Image.new("LAB", (2, 2)).save(tmp_path / "lab.tif")
    with pytest.raises(ValueError, match="lab.tif in Lab colours. Save it as PNG"):
        read_image(tmp_path / "lab.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_to_hold_a_camera(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "x.webp", lossless=True, exif=exif)
    turned = np.rot90(
        PIXELS, {6: -1, 7: -1, 5: 1, 8: 1, 3: 2, 4: 2}.get(orientation, 0)
    )
    mirrored = {
        2: turned[:, ::-1],
        4: turned[:, ::-1],
        5: turned[::-1],
        7: turned[::-1],
    }
    expected = mirrored.get(orientation, turned)
    np.testing.assert_array_equal(read_image(tmp_path / "x.webp"), expected)


# === Formats ===


@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow with AVIF")
def test_avif(tmp_path):
    clear = Image.new("RGBA", (16, 16), (200, 60, 20, 0))
    clear.paste((200, 60, 20, 255), (0, 0, 16, 8))
    clear.save(tmp_path / "x.avif", quality=100)
    read = read_image(tmp_path / "x.avif").astype(int)
    np.testing.assert_allclose(read[:8], np.full([8, 16, 3], (200, 60, 20)), atol=4)
    assert (read[8:] > 250).all()


@pytest.mark.parametrize(
    "header, name",
    [
        (b"\0\0\0\x1cftypheix", r"HEIC \(HEIF\)"),
        (b"\0\0\0\x18ftypmif1", r"HEIC \(HEIF\)"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path, header, name):
    (tmp_path / "photo").write_bytes(header + bytes(100))
    message = f"^A picture must be in BMP, .*photo in {name}. Save it as PNG or JPEG"
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "photo")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_libtiff_says_nothing_by_itself(tmp_path, capfd, compression):
    pixels = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF", compression=compression)
    content = bytearray(buffer.getvalue())
    content[20:400] = bytes(byte ^ 0x5A for byte in content[20:400])
    (tmp_path / "bad.tif").write_bytes(content)
    with pytest.raises(ValueError, match="bad.tif must be a whole picture"):
        read_image(tmp_path / "bad.tif")
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still open")
    assert capfd.readouterr().err == "still open"


def test_what_cannot_be_read_is_told(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(RNG.integers(0, 256, (50, 50, 3)).astype(np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-2000])
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.new("F", (2, 2)).save(tmp_path / "float.tiff")
    Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    for name, message in (
        ("cut.png", "cut.png must be a whole picture in BMP, GIF, JPEG, PNG"),
        ("text.png", "text.png must be a whole picture"),
        ("empty.png", "empty.png must be a whole picture"),
        ("float.tiff", "8 or 16 bits a channel, .*float.tiff with numbers of 32"),
        ("huge.png", "at most 89,478,485 pixels. Received: .*huge.png"),
    ):
        for read in (read_image, read_mask):
            with pytest.raises(ValueError, match=message):
                read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="none.png"):
        read_image(tmp_path / "none.png")
