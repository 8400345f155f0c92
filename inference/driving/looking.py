"""Looking at the files of an animation before anything is loaded that takes time."""

from __future__ import annotations

from pathlib import Path

from curation.contracts import ClipError
from curation.media import MediaReader
from inference.driving.picture import is_animated, is_folder, is_picture, read_picture
from inference.driving.reference import read_portrait
from inference.driving.sound import open_sound
from inference.driving.template import TEMPLATE_SUFFIX, TemplateFootage
from manifests import UserError


def look_at(reference: str, driving: str | None, audio: str | None) -> None:
    """Opens what is given, without looking for faces: a file that cannot be read shows within a second or so.

    Raises:
        UserError: one of them cannot be used; one line that begins with its path.
    """
    read_portrait(reference)
    if driving:
        _look_at_driver(driving)
    if audio:
        open_sound(audio)


def _look_at_driver(path: str) -> None:
    if Path(path).suffix == TEMPLATE_SUFFIX:
        TemplateFootage(path)
    elif is_folder(path):
        if not any(is_picture(file) for file in Path(path).iterdir() if file.is_file() and not file.name.startswith(".")):
            raise UserError(f"{path}: no pictures in this folder")
    elif is_animated(path):
        pass  # its frames are read once, with their faces
    elif is_picture(path):
        read_picture(path)
    else:
        try:
            with MediaReader() as reader:
                reader.probe(path)
        except ClipError as error:
            raise UserError(f"{path}: {error.message}") from None
