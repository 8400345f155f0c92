"""GPU-hours and core-hours from speeds that are given."""

import pytest

from curation.scaling.estimate import Scale, Speed, estimate, estimate_lines, speeds_of, with_assumed_gpu


def row(height_px: int, seconds: float, decode_ms: float, landmarks_ms: float, wall_ms: float) -> dict:
    return {
        "width_px": 2 * height_px,
        "height_px": height_px,
        "duration_ms": 1000 * seconds,
        "decode_ms": decode_ms,
        "landmarks_ms": landmarks_ms,
        "wall_ms": wall_ms,
    }


def test_speeds_by_resolution_weigh_by_length():
    low, high = speeds_of([row(360, 10, 100, 1000, 2000), row(360, 30, 300, 7000, 10_000), row(1080, 10, 5000, 2000, 8000)])
    assert (low.resolution, low.n_clips) == ("up to 360p", 2)
    assert (low.decode, low.landmarks, low.other) == pytest.approx((0.01, 0.2, 0.09))
    assert (high.resolution, high.core) == ("up to 1080p", pytest.approx(0.8))


def test_hours_and_bottleneck():
    speed = Speed("up to 720p", decode=0.2, landmarks=0.1, other=0.1, n_clips=1)
    cost = estimate(speed, Scale(hours=1000, cores=10))
    assert (cost["core_h"], cost["gpu_h"], cost["bottleneck"]) == (pytest.approx(400), 0, "decode")
    assert 40 < cost["wall_h"] < 44
    on_gpu = estimate(Speed("x", 0.2, 0.0, 0.1, gpu=0.5), Scale(hours=1000, cores=100, gpus=2, gpu_price=2.0))
    assert (on_gpu["gpu_h"], on_gpu["bottleneck"]) == (500, "GPU")
    assert on_gpu["price"] == pytest.approx(on_gpu["wall_h"] * 4)
    assert on_gpu["wall_h"] >= 250


def test_what_is_assumed_is_said():
    speed = Speed("up to 720p", 0.2, 0.3, 0.1, n_clips=3)
    assert with_assumed_gpu(speed).landmarks == 0
    text = "\n".join(estimate_lines([speed], Scale(hours=4670, cores=128, gpus=8, assume_gpu=True)))
    assert "(assumed)" in text
    assert "YOLOX" in text
    assert "4,670.0 h" in text
    assert "assumed" not in "\n".join(estimate_lines([speed], Scale(hours=10, cores=2)))
