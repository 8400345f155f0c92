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


def write_bars(path: Path, code, transfer: int, nits: np.ndarray) -> None:
    """Vertical bars of (N, 3) light in BT.2020's red, green and blue, coded as HDR in ten bits."""
    red, green, blue = code(nits).T
    y = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    planes = 64 + 876 * y, 512 + 896 * (blue - y) / 1.8814, 512 + 896 * (red - y) / 1.4746
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none:pools=none:crf=4"})
        stream.width, stream.height, stream.pix_fmt = 32 * len(nits), 64, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, transfer, 9, 1
        for index in range(2):
            frame = av.VideoFrame(32 * len(nits), 64, "yuv420p10le")
            for plane, levels in zip(frame.planes, planes, strict=True):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, : plane.width] = np.repeat(np.round(levels), plane.width // len(nits))
                plane.update(rows.tobytes())
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def bars_of(path: Path, n: int) -> np.ndarray:
    """(N, 3) means of the bars' middles, 0..255."""
    return first_picture(path).astype(float).reshape(64, n, 32, 3)[16:48, :, 8:24].mean(axis=(0, 2))


def of_sdr(rgb: np.ndarray) -> np.ndarray:
    """Light of SDR colours of BT.709 in BT.2020's red, green and blue."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    return WHITE_NITS * (rgb / 255.0) ** 2.4 @ to_2020.T


def first_picture(path: Path) -> np.ndarray:
    with MediaReader() as reader, reader.read(Clip("s", "k", "i", str(path)), audio=False) as stream:
        return next(np.array(frame.rgb) for frame in stream.frames())


@pytest.mark.parametrize(("code", "transfer"), [(pq, 16), (hlg, 18)])
def test_greys_come_out_as_they_went_in(tmp_path, code, transfer):
    write_bars(tmp_path / "hdr.mkv", code, transfer, of_sdr(np.repeat(GREYS[:, None], 3, axis=1)))
    found = bars_of(tmp_path / "hdr.mkv", len(GREYS))
    assert np.abs(found[:-1] - GREYS[:-1, None]).max() <= 3
    assert np.abs(found - GREYS[:, None]).max() <= 12  # what is nearly white makes room for what is brighter


def test_colours_come_out_as_they_went_in(tmp_path):
    colours = np.array([[200, 150, 120], [150, 60, 60], [60, 140, 70], [60, 70, 160], [120, 80, 50]])  # two skins, three garments
    write_bars(tmp_path / "hdr.mkv", pq, 16, of_sdr(colours))
    assert np.abs(bars_of(tmp_path / "hdr.mkv", len(colours)) - colours).max() <= 5


def test_light_above_white_is_compressed_not_cut(tmp_path):
    lights = np.array([100.0, 203, 300, 450, 700, 1000, 4000])
    write_bars(tmp_path / "hdr.mkv", pq, 16, np.repeat(lights[:, None], 3, axis=1))
    found = bars_of(tmp_path / "hdr.mkv", len(lights)).mean(axis=1)
    assert (np.diff(found[:-1]) > 1).all()
    assert found[-2:] == pytest.approx([255, 255], abs=2)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases/inference")
def test_a_strangers_pq_driver_has_the_contrast_of_the_same_in_sdr():
    hdr, sdr = first_picture(CASES / "pq.mp4"), first_picture(CASES / "sdr.mp4")
    assert hdr.std() == pytest.approx(sdr.std(), rel=0.15)
    assert np.abs(hdr.astype(int) - sdr.astype(int)).mean() < 10
