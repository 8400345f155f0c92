"""Lip sync on real people. Needs the corpus; the full cross-validation is slow."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from lipsync_footage import delayed

from benchmarks.lipsync_corpus import JUDGED, curate, write_index
from curation.config import load_config
from curation.contracts import Clip
from curation.job.clip_scorer import ClipScorer
from curation.lipsync.curve import clip_curve, read_curve
from curation.lipsync.towers import load_towers

pytestmark = pytest.mark.corpus


@pytest.mark.parametrize("name", ["retalking_2.mp4", "vexpress_AOC.mp4"])
def test_real_clips_follow_planted_shifts_and_lose_confidence_a_second_off(corpus: Path, name: str) -> None:
    scorer = ClipScorer(load_config(overrides=("scorers={lipsync: {}}",)), "test")
    path = corpus / "clips" / name
    scorer.score(Clip("folder", name, name, str(path)))
    evidence = scorer.last_evidence
    towers, points, fps = load_towers(), evidence.faces.points_px, evidence.media.fps
    offset, confidence = read_curve(clip_curve(towers, points, evidence.audio, fps)[0])
    assert abs(offset) <= 2
    for late in (-5, 7):
        moved, _ = read_curve(clip_curve(towers, points, delayed(evidence.audio, late), fps)[0])
        assert abs(moved - (offset - late)) <= 1
    _, wrong = read_curve(clip_curve(towers, points, np.roll(evidence.audio, 16_000), fps)[0])
    assert confidence > 1.5 * wrong


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_cross_validation_by_identity(corpus: Path, tmp_path: Path) -> None:
    """What docs/lipsync.md claims, from the files on; $LIPSYNC_CORPUS_OUT may name the kept output of `benchmarks.lipsync_corpus`."""
    pytest.importorskip("torch")
    from curation.lipsync.train import train_lipsync

    out = Path(os.environ.get("LIPSYNC_CORPUS_OUT") or tmp_path)
    curate(write_index(corpus, out / "index"), out / "run")
    train_lipsync(out / "run", out / "trained", evaluate_where=JUDGED, progress=print)
    figures = json.loads((out / "trained" / "report.json").read_text())["cross_validation"]
    assert figures["clips"] == 36
    assert figures["within_1"] >= 0.5
    assert figures["within_3"] >= 0.9
    assert figures["auc"] >= 0.93
