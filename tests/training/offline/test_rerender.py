"""Rendered drivers rendered anew as somebody else: the same motion in the same place, another face."""

import numpy as np
import pytest

import manifests
from curation import face_crop
from curation.config import load_config
from curation.job.run import run as curate
from curation.landmarks import make_backend
from curation.media import MediaReader
from curation.people.job import render_people
from curation.people.settings import PeopleSettings
from curation.people.truth import read_people_truth
from inference.evaluation.metrics.face import correlation, mouth_opening
from tests.training.data_material import write_manifest
from training.data.clips import clip_geometry, load_clips
from training.offline.rerender import Understudy, truth_of
from training.offline.variants import VariantConfig, make_variants

PEOPLE = PeopleSettings(count=2, seconds=1.0, size_px=128, seed=72, camera_faults=False)  # both speak, neither has a beard
CONFIG = VariantConfig(size_px=128, crop_scale=1.6, cached_frames=0)


def quiet(line):
    pass


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A manifest of two rendered people, all for training, whose drivers were rendered anew."""
    home = tmp_path_factory.mktemp("rendered")
    render_people(home / "people", PEOPLE, executor="inprocess", say=quiet)
    curate("people", str(home / "people"), str(home / "curation"), load_config("embedded"))
    rows = manifests.load(home / "curation")
    assert len(rows) == PEOPLE.count
    result = make_variants(CONFIG, "rerender", str(home / "curation"), str(home / "out"), where="", executor="inprocess", say=quiet)
    return home / "out", result


def test_the_other_person_moves_the_same_in_the_same_place(rendered) -> None:
    out, result = rendered
    assert (result.n_clips, result.problems) == (2, {})  # the detector's check of place, opening and motion passed
    table = load_clips(str(out), "", "all", 25.0, needs_audio=False)
    mesh = make_backend("facemesh")
    for clip in table.clips:
        truth = truth_of(clip)
        geometry = clip_geometry(table.landmarks, clip.clip_id, CONFIG.crop_scale, 1, 0.0)
        matrix = face_crop.crop_matrix(geometry.squares[0], CONFIG.size_px)
        times_ms = [40.0 * k for k in range(truth.n_frames)]
        with MediaReader() as reader:
            shown = reader.pictures_at(clip.variants[0], times_ms, strict=True)
            own = [face_crop.warp(rgb, matrix, CONFIG.size_px) for rgb in reader.pictures_at(clip.video_path, times_ms, strict=True)]
        points = np.stack([mesh.detect_image(np.ascontiguousarray(rgb))[0].points_px for rgb in shown])
        planted = np.stack([face_crop.transform_points(p, matrix) for p in truth.points_px])
        unit = np.linalg.norm(planted[:, 42:48].mean(1) - planted[:, 36:42].mean(1), axis=-1)
        for part in (slice(36, 42), slice(42, 48), slice(48, 68)):
            off = np.linalg.norm(points[:, part].mean(1) - planted[:, part].mean(1), axis=-1) / unit
            assert np.median(off) < 0.1
        assert correlation(mouth_opening(points), mouth_opening(planted)) > 0.8
        different = np.abs(np.stack(shown).astype(int) - np.stack(own)).mean()
        assert different > 10  # somebody else


def test_the_person_is_one_of_the_manifests(rendered) -> None:
    out, _ = rendered
    table = load_clips(str(out), "", "all", 25.0, needs_audio=False)
    first, second = table.clips
    somebody = truth_of(second).person
    pictures = Understudy(first, somebody, 96).render(np.array([3]), np.full((1, 68, 2), np.nan))
    assert pictures.shape == (1, 96, 96, 3)
    assert read_people_truth(first.video_path.replace("clips", "truth").replace(".mp4", ".safetensors")).person != somebody


def test_footage_is_not_rendered_anew(tmp_path) -> None:
    run = write_manifest(tmp_path / "run", 2, n_frames=20)
    result = make_variants(CONFIG, "rerender", str(run), str(tmp_path / "out"), where="", executor="inprocess", say=quiet)
    assert len(result.problems) == 2
    assert all("only clips of rendered people" in problem for problem in result.problems.values())
