"""Opening a picture that nobody vouches for: every format and colour mode that Pillow reads, as upright 8-bit RGB."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from manifests import UserError

MAX_PIXELS = 100_000_000
MAX_SIDE_PX = 4096  # larger pictures are halved on reading until they fit: no face crop needs more
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_LEAST_MS, _SHOWN_MS = 20.0, 100.0  # of an animated picture's frame
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def is_file(path: str | Path) -> bool:
    """As `Path.is_file`, and False where the path cannot even be looked up: its name is too long, or a folder may not be entered."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def is_folder(path: str | Path) -> bool:
    """As `Path.is_dir`, and False where the path cannot even be looked up."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def refuse_heic(path: str | Path) -> None:
    """Raises UserError for a HEIC photograph, which shares its container with MP4 and would be taken for a video that was cut off."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(64)
    except OSError:
        return  # whoever reads it says why it cannot be
    is_avif = b"avif" in head or b"avis" in head  # an encoder may put it behind a brand that both have
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS and not is_avif:
        raise UserError(f"{path}: HEIC is not read; save the picture as JPEG or PNG")


def is_named_picture(path: str | Path) -> bool:
    """Whether the path's name is a picture's, whatever the file holds."""
    from PIL import Image

    return Image.registered_extensions().get(Path(path).suffix.lower()) in _FORMATS


def is_animated(path: str | Path) -> bool:
    """Whether the path is a file, and a picture of several frames: a GIF, WebP or PNG that moves."""
    from PIL import Image

    if not is_file(path):
        return False
    Image.init()
    try:
        with warnings.catch_warnings(), Image.open(path, formats=_FORMATS) as image:
            return _moves(image)
    except Exception:  # whatever a damaged file provokes
        return False


def _moves(image: Any) -> bool:
    """Further pictures of MPO and TIFF files are other views and pages, not what comes next."""
    return bool(getattr(image, "is_animated", False)) and image.format not in ("MPO", "TIFF")


def animated_frames(path: str | Path) -> Iterator[tuple[np.ndarray, float]]:
    """(H, W, 3) uint8 and milliseconds of every frame of an animated picture, transparency over white. As browsers do, a frame that is to
    be shown for less than 20 ms is shown for 100.

    Raises:
        UserError: damaged, or too large; one line.
    """
    from PIL import Image, ImageSequence

    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                _require_size(path, image)
                apart = bool(image.info.get("default_image"))  # an APNG's picture for programs that show no animation: none of its frames
                for index, frame in enumerate(ImageSequence.Iterator(image)):
                    if apart and index == 0:
                        continue
                    frame.load()  # WebP says only then how long a frame lasts
                    duration_ms = float(frame.info.get("duration") or 0)
                    yield to_rgb(frame.copy()), duration_ms if duration_ms >= _LEAST_MS else _SHOWN_MS
    except UserError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise UserError(f"{path}: the picture is damaged: {' '.join(str(error).split()) or type(error).__name__}") from None


def is_picture(path: str | Path) -> bool:
    """Whether the path is a file, and its first bytes are a picture's.

    Raises:
        UserError: it is a HEIC photograph.
    """
    from PIL import Image

    if not is_file(path):
        return False
    refuse_heic(path)
    Image.init()  # `formats` knows only the readers that are loaded
    try:
        with warnings.catch_warnings(), Image.open(path, formats=_FORMATS):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # whatever a damaged file provokes
        return False


def read_picture(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as the EXIF orientation says, in sRGB by the colour profile that it brings, transparency over
    white, 16 bits to 8, CMYK and others to RGB.

    Raises:
        UserError: not there, not a picture, damaged, animated or larger than 100 megapixels; one line that begins with the path.
    """
    from PIL import Image

    if not is_file(path):
        raise UserError(f"{path}: the file is not there")
    if Path(path).stat().st_size == 0:
        raise UserError(f"{path}: the file has no bytes")
    refuse_heic(path)
    Image.init()  # `formats` knows only the readers that are loaded
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures and odd metadata; the limit here is MAX_PIXELS
            with Image.open(path, formats=_FORMATS) as image:
                _require_size(path, image)
                if _moves(image):
                    raise UserError(f"{path}: an animated picture; make a video of it first (ffmpeg -i IN.gif OUT.mp4) or save one frame")
                return to_rgb(image)
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{path}: the picture is too large; at most {MAX_PIXELS / 1e6:.0f} megapixels are read") from None
    except Image.UnidentifiedImageError:
        raise UserError(f"{path}: not a picture that can be read (PNG, JPEG, WebP, TIFF, BMP ...)") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise UserError(f"{path}: the picture is damaged: {' '.join(str(error).split()) or type(error).__name__}") from None


def to_rgb(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 of a `PIL.Image.Image`, as `read_picture` describes."""
    from PIL import Image

    if max(image.size) > MAX_SIDE_PX:
        image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))  # JPEG: decodes a half, a quarter or an eighth of the size
    image.load()
    about = dict(image.info)
    image = _upright(image)
    while max(image.size) > MAX_SIDE_PX:
        image = image.reduce(2)
    if image.mode in _SIXTEEN_BIT or image.mode == "F":
        image = _eight_bit(image, about.get("transparency"))
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    elif image.mode in ("RGBa", "La") or "transparency" in about:
        image = image.convert("LA" if image.mode in ("1", "L", "La") else "RGBA")
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    image = image.convert(image.mode.removesuffix("A")) if alpha is not None else image
    rgb = in_srgb(image, about.get("icc_profile"))
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    return np.array(rgb)


def in_srgb(image: Any, profile: bytes | None) -> Any:
    """A `PIL.Image.Image` of any mode without alpha, as sRGB. Telephones write Display P3, presses a CMYK of their own; taken
    for sRGB they are pale or garish. A picture that its profile does not fit is taken for sRGB."""
    from PIL import ImageCms

    if profile and image.mode in ("L", "RGB", "CMYK", "LAB"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # damaged, or of other channels than the picture has
            pass
    return image.convert("RGB")


def _upright(image: Any) -> Any:
    """Turned as its EXIF says; as it is where that is damaged."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # struct.error, SyntaxError, KeyError, ...: the pixels are whole all the same
        return image


def _eight_bit(image: Any, transparent: Any) -> Any:
    """Grey of 8 bits from 16 or 32, or from floating point; with alpha where one value (PNG's tRNS) is transparent."""
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    eight = values * (255 if np.nanmax(values, initial=0) <= 1 else 1) if image.mode == "F" else values / 257
    grey = Image.fromarray(np.clip(np.round(np.nan_to_num(eight)), 0, 255).astype(np.uint8))
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _require_size(path: str | Path, image: Any) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UserError(f"{path}: {width}x{height} px; at most {MAX_PIXELS / 1e6:.0f} megapixels are read")
