"""HDR video comes out as the SDR picture that it was made from: light coded by the formulas of SMPTE ST 2084 and ARIB STD-B67."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from curation.contracts import Clip
from curation.media import MediaReader

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "inference"
WHITE_NITS = 203.0  # of SDR white within HDR, by ITU-R BT.2408
GREYS = np.array([40, 80, 120, 160, 200, 235])


def pq(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: np.ndarray) -> np.ndarray:
    """Of a display of 1000 nits."""
    scene = (nits / 1000) ** (1 / 1.2)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def write_greys(path: Path, code, transfer: int) -> None:
    """Six vertical bars of SDR greys, as HDR in ten bits."""
    levels = code(WHITE_NITS * (GREYS / 255.0) ** 2.4)
    luma = np.repeat(np.round(64 + 876 * levels), 32).astype(np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none:pools=none:crf=4"})
        stream.width, stream.height, stream.pix_fmt = 192, 64, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, transfer, 9, 1
        for index in range(2):
            frame = av.VideoFrame(192, 64, "yuv420p10le")
            for plane, value in zip(frame.planes, (luma, np.full(96, 512, np.uint16), np.full(96, 512, np.uint16)), strict=True):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, : len(value)] = value
                plane.update(rows.tobytes())
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def first_picture(path: Path) -> np.ndarray:
    with MediaReader() as reader, reader.read(Clip("s", "k", "i", str(path)), audio=False) as stream:
        return next(np.array(frame.rgb) for frame in stream.frames())


@pytest.mark.slow  # swscale's table takes seconds
@pytest.mark.parametrize(("code", "transfer"), [(pq, 16), (hlg, 18)])
def test_greys_come_out_as_they_went_in(tmp_path, code, transfer):
    write_greys(tmp_path / "hdr.mkv", code, transfer)
    rgb = first_picture(tmp_path / "hdr.mkv").astype(float)
    found = rgb[:, 16::32].mean(axis=(0, 2))
    assert np.abs(found - GREYS).max() <= 20
    assert (np.diff(found) > 20).all()


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases/inference")
def test_a_strangers_pq_driver_has_the_contrast_of_the_same_in_sdr():
    hdr, sdr = first_picture(CASES / "pq.mp4"), first_picture(CASES / "sdr.mp4")
    assert hdr.std() == pytest.approx(sdr.std(), rel=0.15)
    assert np.abs(hdr.astype(int) - sdr.astype(int)).mean() < 10
