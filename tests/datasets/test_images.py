"""Every kind of picture file that people have, and every kind of file that is none."""

import io
import os
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from passl.datasets.images import BadImage, load_image, to_rgb
from passl.utils.errors import UserError


def gradient(width=40, height=30):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 6, y * 8, (x + y) * 3], axis=-1).astype(np.uint8))


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def pixels(path):
    return np.asarray(load_image(path))


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(width, height, *extra):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = b"".join(extra) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, gradient(), f"a.{suffix}", **options)
    assert (pixels(path) == np.asarray(gradient())).all()


def test_jpeg_equals_what_pillow_decodes(tmp_path):
    path = saved(tmp_path, gradient(), "a.jpg", quality=90)
    assert (pixels(path) == np.asarray(Image.open(path).convert("RGB"))).all()


def test_greyscale_jpeg_becomes_three_equal_channels(tmp_path):
    path = saved(tmp_path, gradient().convert("L"), "a.jpg")
    values = pixels(path)
    assert values.shape == (30, 40, 3) and (values == values[:, :, :1]).all()


def test_content_decides_the_format_and_not_the_suffix(tmp_path):
    path = saved(tmp_path, gradient(), "a.jpg", format="PNG")
    assert (pixels(path) == np.asarray(gradient())).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = np.asarray(gradient())
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), "a.png", exif=exif)
    assert (pixels(path) == upright).all()


def test_cmyk_becomes_rgb(tmp_path):
    path = saved(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "a.tiff")
    assert (pixels(path) == (255, 0, 0)).all()


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    path = saved(tmp_path, Image.new("CMYK", (8, 8), (255, 255, 0, 0)), "a.jpg", quality=100)
    assert np.abs(pixels(path).astype(int) - (0, 0, 255)).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bit_greyscale_is_scaled_and_not_clipped(tmp_path, suffix):
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 4 1 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    assert pixels(path)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_thirty_two_bit_greyscale_is_refused_with_a_reason(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[0.0, 1.0]], np.float32)), "a.tiff")
    with pytest.raises(BadImage, match="32-bit"):
        load_image(path)


def test_palette_becomes_its_colours(tmp_path):
    image = gradient().quantize(16)
    path = saved(tmp_path, image, "a.png")
    assert (pixels(path) == np.asarray(image.convert("RGB"))).all()


def test_transparency_is_dropped_as_in_the_reference(tmp_path):
    image = gradient().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert (pixels(saved(tmp_path, image, "a.png")) == np.asarray(gradient())).all()


def test_palette_with_transparency_gives_no_warning(tmp_path):
    image = gradient().quantize(4)
    path = saved(tmp_path, image, "a.png", transparency=b"\x00\x80\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (pixels(path) == np.asarray(image.convert("RGB"))).all()


def test_grey_with_alpha_becomes_grey(tmp_path):
    image = gradient().convert("LA")
    assert (pixels(saved(tmp_path, image, "a.png"))[:, :, 1] == np.asarray(image)[:, :, 0]).all()


def test_black_and_white_becomes_0_and_255(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[True, False]])), "a.png")
    assert pixels(path)[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_animation_is_its_first_picture(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, frames[0], f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert (pixels(path) == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1)])
def test_extreme_sizes_are_read(tmp_path, size):
    path = saved(tmp_path, Image.new("RGB", size, (1, 2, 3)), "a.png")
    assert load_image(path).size == size


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tiff", "ppm"])
def test_truncated_file_is_an_error_and_not_half_a_picture(tmp_path, suffix):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path = saved(tmp_path, noise, f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadImage):
        load_image(path)


def test_progressive_jpeg_cut_short_is_an_error(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path = saved(tmp_path, noise, "a.jpg", progressive=True)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadImage, match="truncated or damaged"):
        load_image(path)


def test_empty_file_has_its_reason(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(BadImage, match="an empty file"):
        load_image(tmp_path / "a.jpg")


def test_text_named_jpg_is_no_picture(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404 not found</html>")
    with pytest.raises(BadImage, match="not a picture in a known format"):
        load_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "content",
    [
        b"SIMPLE  =                    T / FITS",
        b"8BPS\0\1",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\0\0\1\0\1\0",
    ],
    ids=["FITS", "PSD", "EPS", "ICO"],
)
def test_format_that_is_not_listed_is_never_parsed(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content + b"\0" * 5000)
    with pytest.raises(BadImage, match="not a picture in a known format"):
        load_image(tmp_path / "a.jpg")


def test_missing_file_has_its_reason_and_path(tmp_path):
    with pytest.raises(BadImage) as caught:
        load_image(tmp_path / "none.jpg")
    assert caught.value.reason == "no such file" and caught.value.path == str(tmp_path / "none.jpg")


def test_folder_is_no_picture(tmp_path):
    with pytest.raises(BadImage, match="a folder"):
        load_image(tmp_path)


def test_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(BadImage, match="not a regular file"):
        load_image(tmp_path / "a.jpg")


def test_link_in_a_circle_is_refused(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "a.jpg")
    with pytest.raises(BadImage, match="cannot be opened"):
        load_image(tmp_path / "a.jpg")


def test_name_with_a_null_character_is_refused():
    with pytest.raises(BadImage, match="cannot be opened"):
        load_image("a\0b.jpg")


def test_too_many_pixels_are_refused_from_the_header(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_bytes(12000, 12000))
    with pytest.raises(BadImage, match="more than 89478485 pixels"):
        load_image(tmp_path / "bomb.png")


def test_far_too_many_pixels_are_refused_as_well(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_bytes(100000, 100000))
    with pytest.raises(BadImage, match="more than 89478485 pixels"):
        load_image(tmp_path / "bomb.png")


def test_max_pixels_can_be_set_per_call(tmp_path):
    path = saved(tmp_path, gradient(), "a.png")
    with pytest.raises(BadImage, match="more than 1199 pixels"):
        load_image(path, max_pixels=1199)
    assert load_image(path, max_pixels=1200).size == (40, 30)


def test_png_with_a_bomb_in_its_text_is_refused(tmp_path):
    bomb = zlib.compress(b"a" * 2**26, 9)
    chunk = png_chunk(b"zTXt", b"Comment\0\0" + bomb)
    (tmp_path / "bomb.png").write_bytes(png_bytes(8, 8, chunk))
    with pytest.raises(BadImage, match="truncated or damaged"):
        load_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tiff", "ppm"])
def test_damaged_bytes_raise_nothing_but_bad_image(tmp_path, suffix):
    content = bytearray(saved(tmp_path, gradient(), f"a.{suffix}").read_bytes())
    rng = np.random.default_rng(7)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=4):
            damaged[place] = int(rng.integers(256))
        try:
            outcomes.add(load_image(io.BytesIO(bytes(damaged))).mode)
        except BadImage:
            outcomes.add("bad")
    assert outcomes <= {"RGB", "bad"}


@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [
        (0x011A, 2, b"ab\0\0"),  # a resolution that is a text
        (0x0100, 2, b"ab\0\0"),  # a width that is a text
        (0x0100, 11, struct.pack("<f", 1.5)),  # a width with a fraction
        (0x013B, 5, b"\x08\0\0\0"),  # an artist who is a ratio
        (0x8769, 9, b"\xff\xff\xff\xff"),  # a section before the beginning of the file
    ],
)
def test_exif_with_nonsense_beside_the_orientation_is_applied(tmp_path, tag, kind, value):
    count = 3 if kind == 2 else 1
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHI", tag, kind, count) + value
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    path = saved(tmp_path, gradient(), "a.jpg", exif=exif)
    assert load_image(path).size == (30, 40)


def test_binary_file_is_read_too(tmp_path):
    content = saved(tmp_path, gradient(), "a.png").read_bytes()
    assert load_image(io.BytesIO(content)).size == (40, 30)


def test_non_ascii_path_with_spaces_is_read(tmp_path):
    assert load_image(saved(tmp_path, gradient(), "zwei Kätzchen 猫.png")).size == (40, 30)


def test_reasons_do_not_contain_numbers_of_the_single_file(tmp_path):
    reasons = set()
    for size in (100, 120):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8))
        path = saved(tmp_path, noise, f"{size}.jpg")
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(BadImage) as caught:
            load_image(path)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1


def test_bad_image_is_a_user_error_that_survives_pickling():
    error = pickle.loads(pickle.dumps(BadImage("an empty file", "a.jpg")))
    assert isinstance(error, UserError) and str(error) == "a.jpg: an empty file"


def test_to_rgb_scales_sixteen_bits_in_memory():
    image = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == [0, 255]
