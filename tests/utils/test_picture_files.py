"""Pictures on disk with their metadata, and files from outside."""

import random
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from keras_dalle.utils import picture_files
from keras_dalle.utils.picture_files import (
    FORMATS,
    check_metadata_fits,
    decode_pixels,
    encode_picture,
    picture_format,
    read_metadata,
    read_picture,
    save_picture,
)
from keras_dalle.utils.picture_metadata import KEY, MetadataError, PictureMetadata
from tests.utils.test_picture_metadata import ODD_TEXTS, SHA, metadata_of

SUFFIXES = [*FORMATS, ".PNG"]
NOISE = np.random.default_rng(0).integers(0, 256, [24, 20, 3], np.uint8)


def noise():
    return Image.fromarray(NOISE)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_metadata_comes_back(tmp_path, suffix):
    metadata = metadata_of(*ODD_TEXTS)
    path = save_picture(noise(), tmp_path / "new" / f"x{suffix}", metadata)
    stored = read_picture(path)
    assert stored.metadata == read_metadata(path) == metadata
    assert [row.pixels_sha256 for row in stored.metadata.pictures][0] == SHA
    assert stored.format is FORMATS[suffix.lower()]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix, largest", [(".png", 0), (".webp", 0), (".jpg", 80)])
def test_pixels_come_back(tmp_path, suffix, largest):
    path = save_picture(noise(), tmp_path / f"x{suffix}", metadata_of("x"))
    pixels_HWC = read_picture(path).pixels_HWC
    assert np.abs(pixels_HWC.astype(int) - NOISE).max() <= largest
    np.testing.assert_array_equal(pixels_HWC, decode_pixels(path.read_bytes()))


def test_metadata_changes_no_pixel():
    for kind in FORMATS.values():
        plain = decode_pixels(encode_picture(noise(), kind))
        told = decode_pixels(encode_picture(noise(), kind, metadata_of("x")))
        np.testing.assert_array_equal(plain, told)


def test_png_has_one_international_text(tmp_path):
    path = save_picture(noise(), tmp_path / "x.png", metadata_of("❤️"))
    with Image.open(path) as image:
        assert list(image.text) == [KEY]
        assert isinstance(image.text[KEY], PngImagePlugin.iTXt)
    assert "❤️".encode() in path.read_bytes()


def test_metadata_behind_the_pixels_is_found(tmp_path):
    text = metadata_of("x").to_json().encode()
    plain = encode_picture(noise(), FORMATS[".png"])
    chunk = b"iTXt" + KEY.encode() + b"\0\0\0\0\0" + text
    chunk = len(chunk[4:]).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    (tmp_path / "x.png").write_bytes(plain[:-12] + chunk + plain[-12:])
    assert read_picture(tmp_path / "x.png").metadata == metadata_of("x")


def test_a_jpeg_with_another_picture_behind_it(tmp_path):
    """Programs of cameras add a preview; Pillow calls such a file MPO."""
    path = save_picture(noise(), tmp_path / "x.jpg", metadata_of("x"))
    with Image.open(path) as image:
        exif = image.getexif()
        image.save(path, "MPO", save_all=True, append_images=[noise()], exif=exif)
    stored = read_picture(path)
    assert stored.metadata == metadata_of("x")
    assert stored.format is FORMATS[".jpg"]


def test_the_largest_metadata_is_read(tmp_path):
    metadata = metadata_of(*["❤" * 2000] * 1000)
    for suffix in (".png", ".webp"):
        path = tmp_path / f"x{suffix}"
        check_metadata_fits(metadata, path)
        assert read_metadata(save_picture(noise(), path, metadata)) == metadata


def test_jpeg_holds_what_it_says():
    """A prompt as long as the limit is written, and a little more is refused before."""
    fixed = len(metadata_of("").to_json(ascii_only=True)) + 166
    limit = FORMATS[".jpg"].max_exif_bytes
    fits = metadata_of("x" * (limit - fixed))
    check_metadata_fits(fits, "x.jpg")
    assert encode_picture(noise(), FORMATS[".jpg"], fits)
    with pytest.raises(ValueError, match="JPEG holds at most 65,527 bytes of metadata"):
        check_metadata_fits(metadata_of("x" * (limit - fixed + 1)), "x.jpg")


@pytest.mark.parametrize("name", ["x.gif", "x", "x.png.what", ".png"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="must end in .png, .jpg, .jpeg, .webp"):
        save_picture(noise(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=f"Received: {name}"):
        picture_format(name)


def test_too_wide_for_a_format():
    image = Image.new("RGB", (16_384, 1))
    with pytest.raises(ValueError, match="WEBP holds at most 16383 pixels a side"):
        encode_picture(image, FORMATS[".webp"])


def test_failed_saving_leaves_the_earlier_picture(tmp_path, monkeypatch):
    path = save_picture(noise(), tmp_path / "grid.png")
    before = path.read_bytes()

    def fail(self, file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_picture(noise(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]


# === From outside ===


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_without_metadata(tmp_path, suffix):
    path = save_picture(noise(), tmp_path / f"x{suffix}")
    with pytest.raises(MetadataError, match=r"x\.\w+ must be a picture that `keras-d"):
        read_picture(path)


def test_wrong_metadata_names_the_file(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt(KEY, '{"keras_dalle": "9.0", "format": 7}')
    noise().save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(
        MetadataError, match="x.png: .*`format` must be 1 or 2. Received: 7"
    ):
        read_picture(tmp_path / "x.png")


def test_a_picture_of_too_many_pixels(tmp_path, monkeypatch):
    path = save_picture(noise(), tmp_path / "x.png", metadata_of("x"))
    for limit in (400, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=f"must have at most {limit} pixels"):
            read_picture(path)


def test_a_file_of_too_many_bytes(tmp_path, monkeypatch):
    path = save_picture(noise(), tmp_path / "x.png", metadata_of("x"))
    monkeypatch.setattr(picture_files, "MAX_FILE_BYTES", 100)
    with pytest.raises(ValueError, match="must have at most 100 bytes"):
        read_picture(path)


def test_other_formats_are_not_decoded(tmp_path):
    noise().save(tmp_path / "x.gif")
    (tmp_path / "x.gif").rename(tmp_path / "x.png")
    with pytest.raises(ValueError, match="must be in JPEG, PNG, WEBP. .*x.png in GIF"):
        read_picture(tmp_path / "x.png")


def test_a_compressed_text_that_explodes(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt(KEY, "x" * 2**26, zip=True)
    noise().save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(ValueError, match="cannot be read: ValueError: Decompressed"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_damaged_files_are_a_value_error(tmp_path, suffix):
    path = save_picture(noise(), tmp_path / f"x{suffix}", metadata_of("x"))
    whole = path.read_bytes()
    chance = random.Random(0)
    refused = 0
    for attempt in range(300):
        damaged = bytearray(
            whole[: chance.randrange(len(whole))] if attempt % 2 else whole
        )
        for _ in range(chance.randrange(0 if attempt % 2 else 1, 4)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            assert isinstance(read_picture(path).metadata, PictureMetadata)
        except ValueError:
            refused += 1
    assert refused > 150
