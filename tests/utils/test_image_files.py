"""Pictures and masks from outside, as a person sees them."""

import numpy as np
import pytest
from PIL import Image

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


def test_what_cannot_be_read_is_told(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(RNG.integers(0, 256, (50, 50, 3)).astype(np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-2000])
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.new("F", (2, 2)).save(tmp_path / "float.tiff")
    Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    Image.new("RGBA", (2, 2)).save(tmp_path / "clear.png")
    for name, message in (
        ("cut.png", "cut.png must be a whole picture in BMP, GIF, JPEG, PNG"),
        ("text.png", "text.png must be a whole picture"),
        ("empty.png", "empty.png must be a whole picture"),
        ("float.tiff", "8 or 16 bits a channel. Received: .*float.tiff with 32"),
        ("huge.png", "at most 89,478,485 pixels. Received: .*huge.png"),
    ):
        for read in (read_image, read_mask):
            with pytest.raises(ValueError, match=message):
                read(tmp_path / name)
    with pytest.raises(ValueError, match="without transparent pixels. .*clear.png"):
        read_mask(tmp_path / "clear.png")
    with pytest.raises(FileNotFoundError, match="none.png"):
        read_image(tmp_path / "none.png")
