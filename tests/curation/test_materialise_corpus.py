"""Real clips, from curation to crops and Table 1: the landmarks found again on the crops agree, and what was not measured says why."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import manifests
from curation.config import load_config
from curation.contracts import Clip
from curation.job.run import run
from curation.landmarks import make_backend
from curation.landmarks.sixty_eight import LEFT_EYE, LIPS, RIGHT_EYE, interocular
from curation.materialise.run import materialise
from curation.materialise.settings import MaterialiseSettings
from curation.media import MediaReader
from curation.table1.figures import ALL, measure
from curation.table1.paper import load_paper
from curation.table1.show import render

pytestmark = [pytest.mark.corpus, pytest.mark.slow, pytest.mark.timeout(900)]

FILES = ("megactor_ENTF_2.mp4", "grid_bbaf2n.mpg", "skyreels_5.mp4", "skyreels_4.mp4", "vox2_00067.mp4", "hdtf_RD_Radio10_0_clip_0.mp4")
QUIET = {"say": lambda line: None}


@pytest.fixture(scope="module")
def scored(corpus, tmp_path_factory) -> Path:
    """A run of the embedded profile over a few real clips and one damaged file."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "clips").mkdir()
    for name in FILES:
        (folder / "clips" / name).symlink_to(corpus / "clips" / name)
    (folder / "clips" / "damaged.mp4").write_bytes((corpus / "clips" / FILES[0]).read_bytes()[:20_000])
    run("folder", str(folder / "clips"), str(folder / "run"), load_config(overrides=("job.executor=inprocess",)), **QUIET)
    return folder / "run"


@pytest.mark.parametrize("crop", ["fixed", "smoothed"])
def test_mouth_and_eyes_are_found_again_where_the_landmarks_were_moved(scored, tmp_path, crop):
    """Per clip, the mean distance stays below 4 % of the distance between the eyes: the network's own uncertainty on another scale."""
    settings = MaterialiseSettings(size_px=512, crop=crop)
    materialise(str(scored), str(tmp_path), settings, where="status == 'scored'", executor="inprocess", **QUIET)
    rows = manifests.load(tmp_path)
    assert manifests.validate(rows) == []
    assert len(rows) == len(FILES)
    assert (rows["status"] == "scored").all()
    backend = make_backend("facemesh", {})
    eyes = [*range(*RIGHT_EYE.indices(68)), *range(*LEFT_EYE.indices(68))]
    with MediaReader() as reader:
        for row in rows.itertuples():
            moved = manifests.load_landmarks(tmp_path, row.clip_id).points_px
            again = found_again(reader, backend, row.video_path)[: len(moved)]
            away = np.linalg.norm(again - moved[: len(again)], axis=2)
            eye_distance = np.nanmedian(interocular(moved))
            mouth_px, eyes_px = np.nanmean(away[:, LIPS]), np.nanmean(away[:, eyes])
            print(f"{Path(row.parent_video_path).name:32} mouth {mouth_px:5.2f} px, eyes {eyes_px:5.2f} px of {eye_distance:4.0f} px")
            assert max(mouth_px, eyes_px) < 0.04 * eye_distance, row.parent_video_path


def found_again(reader: MediaReader, backend, video_path: str) -> np.ndarray:
    with reader.read(Clip("folder", "crop", "crop", video_path), audio=False) as stream:
        tracker = backend.track(Clip("folder", "crop", "crop", video_path), stream.info)
        for frame in stream.frames():
            tracker.on_frame(frame)
    return tracker.finish().points_px


def test_table1_is_filled_as_far_as_was_measured(scored):
    ours = measure([scored])
    everything = ours.of(ALL)
    assert (everything.before.clips, everything.failed) == (len(FILES), 1)
    assert 0.004 < everything.before.hours < 0.02
    for name in ("face_width_px", "face_height_px", "head_rotation_deg", "lipsync_conf"):
        assert math.isfinite(getattr(everything.before, name)), name
    assert "make models" in everything.before.why["sync_c"]
    text = render(ours, load_paper(), "text")
    print(text)
    assert "no SyncNet run" in text
