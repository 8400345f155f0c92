"""What `make bench-anyone` reads and how it judges, on planted frames."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the benchmark needs torch: install the [train] extra")

from benchmarks.anyone.page import accepts, bars, page, threshold_of_strangers
from benchmarks.anyone.reading import Reading, edge_ratio, face_psnr, followed
from manifests import UserError


def reading(**tracks) -> Reading:
    count = len(next(iter(tracks.values())))
    still = {name: np.zeros(count) for name in ("mouth", "eyes", "roll_deg", "shift_x", "shift_y", "zoom")}
    return Reading(np.zeros((count, 68, 2)), still | {name: np.asarray(values, float) for name, values in tracks.items()})


def test_what_moves_is_followed_or_not() -> None:
    wave = np.sin(np.arange(40) / 3)
    driver = reading(mouth=0.1 * wave, eyes=0.001 * wave, shift_x=0.2 * wave)
    assert followed(reading(mouth=0.05 * wave, shift_x=0.1 * wave), driver) == pytest.approx({"found": 1, "mouth": 1, "shift": 1})
    assert followed(reading(mouth=0 * wave), driver)["mouth"] == 0  # a face that stands still follows nothing
    lost = reading(mouth=0.1 * wave)
    lost.points_px[:10] = np.nan
    assert followed(lost, driver)["found"] == 0.75


def test_edges_at_multiples_of_eight() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert edge_ratio(noise) == pytest.approx(1, abs=0.05)
    blocks = np.kron(generator.integers(0, 256, (1, 8, 8, 1)), np.ones((1, 8, 8, 3))).astype(np.uint8)
    assert edge_ratio(np.clip(blocks + noise[:1] // 64, 0, 255).astype(np.uint8)) > 5


def test_psnr_of_the_face_alone() -> None:
    target = np.zeros((1, 32, 32, 3), np.uint8)
    off = target.copy()
    off[:, :8] = 255
    points = np.full((1, 68, 2), 20.0)
    points[0, 0] = 10
    assert face_psnr(off, target, points) > 80
    off[:, 10:20, 10:20] = 51
    assert face_psnr(off, target, points) == pytest.approx(20 * np.log10(5))


def test_the_page_says_what_holds() -> None:
    def row(**values) -> dict[str, float]:
        return {"found": 1.0, "mouth": 0.9, "eyes": 0.8, "roll_deg": 0.95, "psnr": 25.0, "edges": 1.0, "likeness": 0.8} | values

    clip = {"model": row(), "still": row(mouth=0.0, psnr=20.0), "moved": row(mouth=0.0, psnr=22.0), "codec": row(psnr=30.0)}
    clip["driver"] = {"mouth": 0.1, "roll_deg": 0.0}
    clip["once"] = {"mouth": 0.77}
    vectors = {f"vector/{k}": list(np.eye(8)[k]) for k in range(8)}
    about = {"stage": 2, "step": 10, "preset": "fast", "seconds": 4.0}
    figures = {"about": about, "self/a": clip, "self/b": {**clip, "model": row(mouth=0.5, psnr=21.0)}, **vectors}
    found = {what.split(",")[0].split(" (")[0]: (reached, holds) for what, _, reached, holds in bars(figures)}
    assert found["mouth opening"] == ("0.540", False)  # nine in ten
    assert found["clips that move"] == ("0.500", False)
    assert found["PSNR of the face over the better control"] == ("1.000", True)
    assert "mouth 0.77, eyes –" in page(figures)
    assert threshold_of_strangers(figures) == pytest.approx(0)
    assert "| **no** |" in page(figures)
    in_time, out_of_time = {"offset": 0, "confidence": 1.0}, {"offset": 9, "confidence": 1.0}
    heard = [{**clip, "own": own, "filmed": filmed} for own, filmed in ((in_time, in_time), (out_of_time, in_time), (in_time, out_of_time))]
    both = {what: (reached, holds) for what, _, reached, holds in bars({f"both/{k}": value for k, value in enumerate(heard)})}
    assert both["sound and eyes: lip-sync scorer accepts, of 2 clips whose film it accepts"] == ("0.500", False)
    assert not accepts({"offset": None, "confidence": 1.0})
    assert not accepts({"offset": 8, "confidence": 1.0})
    assert accepts({"offset": 0, "confidence": 1.0})


def test_figures_of_other_weights_are_refused(tmp_path) -> None:
    from benchmarks.kept import Kept, digest_of_weights

    kept = Kept(tmp_path / "figures.json")
    kept.belong_to({"weights": "a", "seconds": 4})
    kept.get("self/one", lambda: 1)
    Kept(tmp_path / "figures.json").belong_to({"weights": "a", "seconds": 4})
    with pytest.raises(UserError, match="holds figures of weights a: choose another folder"):
        Kept(tmp_path / "figures.json").belong_to({"weights": "b", "seconds": 4})
    assert digest_of_weights(tmp_path) is None
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "model.safetensors").write_bytes(b"x")
    assert len(digest_of_weights(tmp_path) or "") == 12
