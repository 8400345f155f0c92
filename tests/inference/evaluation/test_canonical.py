"""Canonical form on small encoded clips of a face."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.landmarks import make_backend
from inference.evaluation.canonical import AnswerError, Canonicaliser

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "curation"))
from clip_files import astronaut, write_face_clip


@pytest.fixture(scope="module")
def canonicaliser() -> Iterator[Canonicaliser]:
    with Canonicaliser(make_backend("facemesh"), size_px=256) as it:
        yield it


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def write_wide(path: Path, picture: np.ndarray, n_frames: int = 25, fps: int = 25) -> None:
    """A silent H.264 file of one picture."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12"})
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(n_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def test_a_square_clip_is_taken_whole_and_an_answer_of_another_size_falls_on_it(tmp_path: Path, canonicaliser: Canonicaliser) -> None:
    write_face_clip(tmp_path / "real.mp4", seed=1, size_px=256)
    write_face_clip(tmp_path / "small.mp4", seed=1, size_px=192)
    real = canonicaliser.real(tmp_path / "real.mp4")
    assert real.frames.shape == (25, 256, 256, 3)
    assert real.record["crop"] == "whole"
    assert len(real.audio) == 16_000
    assert real.faces.seen.all()
    answer = canonicaliser.answer(tmp_path / "small.mp4", real)
    assert answer.record == {"source_fps": 25.0, "source_px": [192, 192], "crop": "real's square", "frames_off": 0}
    assert psnr(answer.frames[0], real.frames[0]) > 25
    assert np.abs(answer.faces.points_px[0] - real.faces.points_px[0]).max() < 4


def test_a_wide_clip_is_cropped_to_the_face_and_a_methods_own_crop_is_laid_over_it(tmp_path: Path, canonicaliser: Canonicaliser) -> None:
    picture = np.full((360, 640, 3), 90, np.uint8)
    face = astronaut(320)
    picture[20:340, 200:520] = face
    write_wide(tmp_path / "wide.mp4", picture)
    write_wide(tmp_path / "crop.mp4", cv2.resize(face, (448, 448), interpolation=cv2.INTER_AREA))
    real = canonicaliser.real(tmp_path / "wide.mp4")
    assert real.record["crop"] == "face square"
    assert real.audio is None
    answer = canonicaliser.answer(tmp_path / "crop.mp4", real)
    assert answer.record["crop"] == "aligned by face"
    inside = np.zeros((256, 256), np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(real.faces.points_px[0].astype(np.int32)), 1)
    assert psnr(answer.frames[0][inside > 0], real.frames[0][inside > 0]) > 24


def test_frames_are_mapped_by_time_and_wrong_lengths_are_failures(tmp_path: Path, canonicaliser: Canonicaliser) -> None:
    write_face_clip(tmp_path / "real.mp4", seed=1, n_frames=25, size_px=128)
    write_face_clip(tmp_path / "fast.mp4", seed=1, n_frames=50, size_px=128, fps=50)
    write_face_clip(tmp_path / "short.mp4", seed=1, n_frames=20, size_px=128)
    write_face_clip(tmp_path / "nearly.mp4", seed=1, n_frames=24, size_px=128)
    real = canonicaliser.real(tmp_path / "real.mp4")
    assert len(canonicaliser.answer(tmp_path / "fast.mp4", real)) == 25
    assert len(canonicaliser.answer(tmp_path / "nearly.mp4", real)) == 24
    with pytest.raises(AnswerError, match="20 frames at 25 fps where the real clip has 25") as caught:
        canonicaliser.answer(tmp_path / "short.mp4", real)
    assert caught.value.kind == "length_mismatch"


def test_what_cannot_be_read_or_shows_no_face_says_so(tmp_path: Path, canonicaliser: Canonicaliser) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("hello")
    write_wide(tmp_path / "grey.mp4", np.full((120, 200, 3), 90, np.uint8))
    for name, kind in [("none.mp4", "missing_file"), ("empty.mp4", "empty_file"), ("text.mp4", "not_a_video"), ("grey.mp4", "no_face")]:
        with pytest.raises(AnswerError) as caught:
            canonicaliser.real(tmp_path / name)
        assert caught.value.kind == kind
