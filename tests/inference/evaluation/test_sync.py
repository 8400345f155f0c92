"""The evaluation's Sync-C is the curation's: the same file, the same weights (random ones), both ways."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "curation"))
from clip_files import write_face_clip
from syncnet_planted import random_syncnet

from curation.config import load_config
from curation.contracts import Clip
from curation.job.clip_scorer import ClipScorer
from curation.landmarks import make_backend
from curation.scorers.syncnet import Networks
from curation.syncnet.network import Embedder
from inference.evaluation.canonical import Canonicaliser
from inference.evaluation.metrics.base import Judged, UnavailableError
from inference.evaluation.metrics.sync import SyncNet


def with_random_weights(scorer) -> None:
    """Puts networks and their name where the published weights would be; only tests do."""
    scorer.__dict__.update(notice="", model_name="random", networks=Networks(Embedder(random_syncnet()), None))


@pytest.mark.slow
def test_equal_to_the_curations_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_face_clip(tmp_path / "clip.mp4", seed=3, n_frames=58, size_px=400)
    config = load_config(overrides=("scorers={syncnet: {runtime: {device: cpu}}}",))
    with ClipScorer(config, "test") as curation:
        scorer = next(one for one in curation.scorers if one.name == "syncnet")
        with_random_weights(scorer)
        row = curation.score(Clip("folder", "clip", "clip", str(tmp_path / "clip.mp4"))).row
    assert row["status"] == "scored", row["error_message"]
    metric = SyncNet.__new__(SyncNet)
    metric._scorer = scorer
    with Canonicaliser(make_backend("facemesh"), size_px=400) as canonicaliser:
        real = canonicaliser.real(tmp_path / "clip.mp4")
    found = metric.score(Judged(real, real))
    assert found["sync_c"] == pytest.approx(row["sync_c"], abs=0.02)
    assert found["sync_d"] == pytest.approx(row["sync_d"], abs=0.02)
    assert found["av_offset_frames"] == row["av_offset_frames"]
    assert found["sync_c_real_crop"] == found["sync_c"]


def test_without_the_published_weights_there_is_no_sync_c(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="models fetch syncnet"):
        SyncNet(models_dir=str(tmp_path))
