"""Drivers that are no videos: animated pictures, folders of pictures, and photographs that look like videos."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.driving.opening import open_footage
from inference.driving.picture import read_picture
from manifests import UserError
from tests.inference.driver_footage import PlantedBackend


def pictures(count: int, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    """Each of a grey of its own."""
    return [Image.fromarray(np.full((size[1], size[0], 3), 20 + 20 * k, np.uint8)) for k in range(count)]


def greys(path: Path) -> tuple[list[int], Fraction]:
    """The greys that are shown, to the nearest of `pictures`, and the rate."""
    footage = open_footage(path, PlantedBackend())
    shown = [round((float(frame.mean()) - 20) / 20) for frame in footage.frames()]
    assert len(shown) == footage.n_frames == len(footage.points_px)
    assert round(float(footage.frame(footage.n_frames - 1).mean() - 20) / 20) == shown[-1]
    return shown, footage.fps


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_pictures_of_one_rate_keep_it(tmp_path, suffix: str) -> None:
    first, *rest = pictures(5)
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=rest, duration=40, loop=0)
    assert greys(tmp_path / f"a.{suffix}") == ([0, 1, 2, 3, 4], 25)


def test_the_picture_that_stands_for_an_animation_is_none_of_its_frames(tmp_path) -> None:
    """An APNG may hold one for programs that show no animation."""
    apart, *frames = pictures(5)
    apart.save(tmp_path / "a.png", save_all=True, append_images=frames, duration=40, loop=0, default_image=True)
    assert greys(tmp_path / "a.png") == ([1, 2, 3, 4], 25)


def test_others_are_shown_as_long_as_they_say(tmp_path) -> None:
    first, *rest = pictures(3)
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=[80, 200, 40], loop=0)
    assert greys(tmp_path / "a.gif") == ([0, 0, 1, 1, 1, 1, 1, 2], 25)


def test_frames_without_a_time_are_shown_as_browsers_show_them(tmp_path) -> None:
    first, *rest = pictures(3)
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=0, loop=0)
    shown, fps = greys(tmp_path / "a.gif")
    assert (shown, fps) == ([0, 1, 2], 10)


def test_folders_are_read_in_the_order_of_their_numbers(tmp_path) -> None:
    for k, picture in enumerate(pictures(12)):
        picture.save(tmp_path / f"frame{k}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    assert greys(tmp_path) == (list(range(12)), 25)


def test_what_cannot_be_a_driver_is_one_line(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures in this folder"):
        open_footage(tmp_path / "empty", PlantedBackend())
    (tmp_path / "mixed").mkdir()
    pictures(1)[0].save(tmp_path / "mixed" / "a.png")
    pictures(1, (32, 32))[0].save(tmp_path / "mixed" / "b.png")
    with pytest.raises(UserError, match="several sizes"):
        open_footage(tmp_path / "mixed", PlantedBackend())
    first, *rest = pictures(5)
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=40)
    (tmp_path / "cut.gif").write_bytes((tmp_path / "a.gif").read_bytes()[:-40])
    try:
        open_footage(tmp_path / "cut.gif", PlantedBackend())
    except UserError as error:
        said = str(error)
    else:
        said = f"{tmp_path / 'cut.gif'}: read as far as it goes"
    assert said.startswith(str(tmp_path / "cut.gif"))


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"msf1"])
def test_heic_is_called_by_its_name(tmp_path, brand: bytes) -> None:
    file = tmp_path / "photo.heic"
    file.write_bytes(b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0mif1heicmiaf" + bytes(100))
    for read in (read_picture, lambda path: open_footage(path, PlantedBackend())):
        with pytest.raises(UserError, match="HEIC is not read; save the picture as JPEG or PNG"):
            read(file)


def test_an_avif_behind_the_brand_that_heic_shares(tmp_path) -> None:
    Image.new("RGB", (64, 48), (200, 40, 90)).save(tmp_path / "photo.avif")
    data = bytearray((tmp_path / "photo.avif").read_bytes())
    data[8:12] = b"mif1"
    (tmp_path / "photo.avif").write_bytes(data)
    assert np.abs(read_picture(tmp_path / "photo.avif").astype(int) - [200, 40, 90]).max() < 8


def test_of_a_tiff_of_several_pages_the_first_is_read(tmp_path) -> None:
    pages = [Image.new("RGB", size, colour) for size, colour in (((64, 48), "red"), ((20, 20), "blue"))]
    pages[0].save(tmp_path / "scan.tiff", save_all=True, append_images=pages[1:])
    assert np.array_equal(read_picture(tmp_path / "scan.tiff"), np.full((48, 64, 3), [255, 0, 0]))
    assert open_footage(tmp_path / "scan.tiff", PlantedBackend(), still_frames=2).n_frames == 2


def test_an_animation_that_lasts_for_hours_is_not_played_out(tmp_path) -> None:
    """A GIF's frame may say that it lasts for eleven minutes."""
    first, *rest = pictures(3)
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=600_000)
    with pytest.raises(UserError, match="it lasts 1,800 s, at most 600 s of an animated picture are read"):
        open_footage(tmp_path / "a.gif", PlantedBackend())


def test_names_with_digits_that_are_no_numbers(tmp_path) -> None:
    """A superscript is a digit for Python, and not one for `int`."""
    for name, picture in zip(("²1.png", "²2.png", "²10.png"), pictures(3), strict=True):
        picture.save(tmp_path / name)
    assert greys(tmp_path)[0] == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nxx"])
def test_a_damaged_picture_in_a_folder_is_no_frame_to_leave_out(tmp_path, content: bytes) -> None:
    for k, picture in enumerate(pictures(3)):
        picture.save(tmp_path / f"{k}.png")
    (tmp_path / "1.png").write_bytes(content)
    with pytest.raises(UserError, match=f"^{tmp_path / '1.png'}: "):
        open_footage(tmp_path, PlantedBackend())


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((1, 2, 5, 10), "jump from 2 to 5"),
        ((0, 10, 20), None),
        ((7,), None),
        ((1, 2, 3), None),
        ((0, 10**30, 10**30 + 1), "from 0 to 1000"),
    ],
)
def test_gaps_in_a_folders_numbers_are_said(tmp_path, numbers: tuple[int, ...], said: str | None) -> None:
    for number, picture in zip(numbers, pictures(len(numbers)), strict=True):
        picture.save(tmp_path / f"f{number}.png")
    footage = open_footage(tmp_path, PlantedBackend())
    assert footage.n_frames == len(numbers)
    assert [said in note for note in footage.notes] == [True] if said else not footage.notes


def test_a_damaged_picture_is_not_called_a_container(tmp_path) -> None:
    pictures(1)[0].save(tmp_path / "a.webp")
    (tmp_path / "a.webp").write_bytes((tmp_path / "a.webp").read_bytes()[:20])
    with pytest.raises(UserError, match="the picture is damaged"):
        open_footage(tmp_path / "a.webp", PlantedBackend())
