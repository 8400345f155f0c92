"""The latent cache: the same samples as from the videos, resumable, and refused where it does not fit."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import manifests
from curation.job.lock import hold
from inference.models.components import build_codec
from tests.training.data_material import data_config, embedded, write_manifest
from training.cli import main
from training.config import TrainingConfig
from training.data.latent_cache import chosen_frames, clip_file
from training.data.loader import make_loader, open_clips
from training.offline.cache_job import cache_latents


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_manifest(tmp_path_factory.mktemp("data") / "run", 3)


def config(run, stage, **settings):
    return TrainingConfig(stage=stage, inference="embedded", data=data_config(run, **settings))


def cache(run, out, stage=3, executor="inprocess", retry_failed=False, **settings):
    quiet = {"executor": executor, "retry_failed": retry_failed, "say": lambda line: None}
    return cache_latents(config(run, stage, **settings), str(run), str(out), **quiet)


def batches(run, stage, n=4, **settings):
    data, inference = data_config(run, **settings), embedded()
    loader = make_loader(data, inference, open_clips(data, inference, run, stage), seed=0, stage=stage, batch_size=2)
    return list(itertools.islice(loader, n)), loader


def content(folder):
    return {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))}


@pytest.mark.parametrize("stage", [1, 3])
def test_samples_are_those_of_the_videos(run, tmp_path, stage) -> None:
    """With all frames cached, everything is equal to the bit, and the latents are what the codec makes of the frames, in float16."""
    options = {"crops_per_clip": 2, "cached_frames": 10_000, "min_gap_frames": 5}
    result = cache(run, tmp_path / "cache", stage, **options)
    assert (result.n_fresh, result.n_failed, result.n_clips) == (3, 0, 3)
    videos, _ = batches(run, stage, **options)
    cached, _ = batches(run, stage, latent_cache=str(tmp_path / "cache"), **options)
    codec = build_codec(embedded())
    for a, b in zip(videos, cached, strict=True):
        assert a.clip_id == b.clip_id
        for f in dataclasses.fields(a):
            left, right = getattr(a, f.name), getattr(b, f.name)
            if f.name.startswith(("target_", "reference_")) and f.name != "reference_present":
                continue
            if isinstance(left, torch.Tensor):
                assert torch.equal(left, right), f.name
        assert b.target_frames is b.reference_frames is a.target_latents is a.reference_latents is None
        assert torch.equal(codec.encode(a.target_frames.float() / 255).half(), b.target_latents)
        assert torch.equal(codec.encode(a.reference_frames.float() / 255).half(), b.reference_latents)


def test_a_killed_job_continues_to_the_same_files(run, tmp_path) -> None:
    whole = cache(run, tmp_path / "whole", cached_frames=32)
    assert 0 < whole.size_bytes < 3e6 + 3 * 34 * 128 * 128 * 3  # and the pictures that the reference is moved from
    cache(run, tmp_path / "part", cached_frames=32)
    ids = manifests.load(run).clip_id
    gone = clip_file(tmp_path / "part", ids[1])
    gone.unlink()
    (gone.parent / f".{gone.name}.99.abcd.tmp").write_bytes(b"half a file")
    assert cache(run, tmp_path / "part", cached_frames=32).n_fresh == 1
    assert content(tmp_path / "part") == content(tmp_path / "whole")
    assert cache(run, tmp_path / "part", cached_frames=32).n_fresh == 0


@pytest.mark.slow
def test_ray_makes_the_same_files(run, tmp_path) -> None:
    cache(run, tmp_path / "here")
    assert cache(run, tmp_path / "ray", executor="ray").n_fresh == 3
    assert content(tmp_path / "ray") == content(tmp_path / "here")


def test_failures_are_on_record_and_left_out(tmp_path) -> None:
    run = write_manifest(tmp_path / "run", 2)
    video = Path(manifests.load(run).video_path[0])
    data = video.read_bytes()
    video.write_bytes(b"")
    result = cache(run, tmp_path / "cache")
    assert result.n_failed == 1
    assert "1 failed" in result.text()
    assert cache(run, tmp_path / "cache").n_fresh == 0  # not tried again
    table = open_clips(data_config(run, latent_cache=str(tmp_path / "cache")), embedded(), run, 3)
    assert len(table) == 1
    assert "left out: 1 not in the latent cache" in table.describe()
    video.write_bytes(data)
    again = cache(run, tmp_path / "cache", retry_failed=True)
    assert (again.n_fresh, again.n_failed) == (1, 0)


def test_a_damaged_file_is_passed_over_and_named(run, tmp_path) -> None:
    cache(run, tmp_path / "cache")
    broken, gone, _ = manifests.load(run).clip_id
    data, inference = data_config(run, latent_cache=str(tmp_path / "cache")), embedded()
    table = open_clips(data, inference, run, 3)
    clip_file(tmp_path / "cache", broken).write_bytes(b"nothing")
    clip_file(tmp_path / "cache", gone).unlink()
    loader = make_loader(data, inference, table, seed=0, stage=3, batch_size=3)
    list(itertools.islice(loader, 2))
    assert {clip_id: skip.kind for clip_id, (_, skip) in loader.skipped.items()} == {broken: "unreadable", gone: "missing_file"}


def test_another_cache_is_refused(run, tmp_path) -> None:
    cache(run, tmp_path / "cache")
    with pytest.raises(manifests.UserError, match=r"was made with crops_per_clip 1, not 2"):
        batches(run, 3, crops_per_clip=2, latent_cache=str(tmp_path / "cache"))
    with pytest.raises(manifests.UserError, match="crops_per_clip 1, not 2"):
        cache(run, tmp_path / "cache", crops_per_clip=2)
    with pytest.raises(manifests.UserError, match="all 3 clips are not in the latent cache"):
        batches(run, 3, latent_cache=str(tmp_path / "nowhere"))
    cache(run, tmp_path / "silent", stage=1)
    with pytest.raises(manifests.UserError, match="its cache holds no sound"):
        batches(run, 2, n=1, latent_cache=str(tmp_path / "silent"))


def test_a_second_job_on_one_cache_is_refused_unless_it_was_shared_out(run, tmp_path) -> None:
    with hold(tmp_path / "cache"):
        with pytest.raises(manifests.UserError, match="another run is writing to"):
            cache(run, tmp_path / "cache")
        shared = cache_latents(config(run, 3), str(run), str(tmp_path / "cache"), executor="inprocess", share=(1, 2), say=lambda line: None)
    assert shared.n_fresh == 1


def test_the_command(run, tmp_path, capsys) -> None:
    command = ["cache-latents", "--stage", "1", "--manifest", str(run), "--out", str(tmp_path / "cache")]
    main([*command, "--set", "data.cached_frames=4"])
    assert "3 of 3 clips" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--set", "data.cached_frame=4"])
    assert stopped.value.code == 2
    assert "did you mean 'cached_frames'" in capsys.readouterr().err


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 40), st.integers(1, 5), st.integers(1, 2))
@settings(max_examples=100, deadline=None)
def test_cached_frames_hold_whole_samples(usable, cached_frames, num_frames, stride) -> None:
    usable = np.array(usable, bool)
    frames = chosen_frames(usable, cached_frames, num_frames, stride)
    span = (num_frames - 1) * stride + 1
    possible = [s for s in range(len(usable) - span + 1) if usable[s : s + span].all()]
    assert (len(frames) > 0) == bool(possible)
    if possible:
        assert usable[frames].all()
        assert np.array_equal(np.unique(frames), frames)
        there = set(frames.tolist())
        runs = [s for s in possible if all(k in there for k in range(s, s + span))]
        assert possible[0] in runs
        assert possible[-1] in runs
        assert len(frames) <= max(2, cached_frames // span) * span
