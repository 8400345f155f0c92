"""The stream of samples from real files: the same for any workers, ranks and restarts; broken clips are passed over, counted and named."""

import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import manifests
from curation import face_crop
from inference.models.masks import RegionMask
from tests.training.data_material import clip_points, data_config, embedded, rewrite, write_manifest
from training.data.loader import frame_source, make_loader, open_clips
from training.data.patches import augment_driven


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_manifest(tmp_path_factory.mktemp("data") / "run")


@pytest.fixture
def run(material, tmp_path):
    """A copy that a test may damage; its manifest names the copied videos."""
    shutil.copytree(material, tmp_path / "run")
    rewrite(
        tmp_path / "run",
        lambda rows: [row | {"video_path": row["video_path"].replace(str(material), str(tmp_path / "run"))} for row in rows],
    )
    return tmp_path / "run"


@pytest.fixture(scope="module")
def sources():
    """Loaders of one table and configuration share their decoding child, which takes a while to start."""
    return {}


@pytest.fixture
def batches(sources):
    def made(folder, stage=1, n=3, *, settings=(), fresh=False, **loader):
        data, inference = data_config(folder, **dict(settings)), embedded()
        table = open_clips(data, inference, folder, stage)
        key = (folder, table.fingerprint, data)
        if fresh or key not in sources:
            sources[key] = frame_source(data, inference, table)
        options = {"seed": 0, "stage": stage, "batch_size": 2, "source": sources[key]} | loader
        stream = make_loader(data, inference, table, **options)
        return list(itertools.islice(stream, n)), stream

    return made


def flat(made):
    """Every tensor of some batches by name, along the samples."""
    tensors = {}
    for f in dataclasses.fields(made[0]):
        values = [getattr(batch, f.name) for batch in made]
        if isinstance(values[0], torch.Tensor):
            tensors[f.name] = torch.cat(values)
        elif f.name == "augmentation":
            tensors |= {f"augmentation.{k}": torch.cat([getattr(v, k) for v in values]) for k in values[0]._fields}
    names = [name for batch in made for name in batch.clip_id]
    return tensors, names


def assert_same(first, second):
    (a, names_a), (b, names_b) = flat(first), flat(second)
    assert names_a == names_b
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 4])
def test_workers_do_not_change_the_stream(material, workers, batches) -> None:
    alone, _ = batches(material, stage=2, n=4)
    helped, loader = batches(material, stage=2, n=4, num_workers=workers)
    assert_same(alone, helped)
    assert loader.next_index == 8


def test_two_ranks_see_what_one_sees(material, batches) -> None:
    alone, whole = batches(material, n=2, batch_size=4)
    ranks = [batches(material, n=2, batch_size=2, rank=r, world_size=2) for r in (0, 1)]
    assert_same(alone, [batch for pair in zip(*(made for made, _ in ranks), strict=True) for batch in pair])
    assert {loader.next_index for _, loader in ranks} == {whole.next_index} == {8}


def test_the_state_is_one_integer(material, batches) -> None:
    whole, _ = batches(material, stage=3, n=3)
    _, loader = batches(material, stage=3, n=1)
    rest, _ = batches(material, stage=3, n=2, start_index=loader.next_index)
    assert_same(whole[1:], rest)


def test_seeds_and_stages_have_streams_of_their_own(material, batches) -> None:
    base = flat(batches(material)[0])[0]
    for other in (flat(batches(material, seed=1)[0])[0], flat(batches(material, stage=2)[0])[0]):
        assert not torch.equal(base["timesteps"], other["timesteps"])
        assert not torch.equal(base["noise"], other["noise"])


def test_every_clip_comes_once_an_epoch(material, batches) -> None:
    _, names = flat(batches(material, n=10, batch_size=1)[0])
    assert len(set(names[:5])) == len(set(names[5:])) == 5
    assert names[:5] != names[5:]


def test_shapes_and_ranges_of_stage_3(material, batches) -> None:
    (batch,), _ = batches(material, stage=3, n=1)
    assert batch.target_frames.shape == batch.driven_frames.shape == (2, 16, 3, 128, 128)
    assert batch.reference_frames.shape == (2, 3, 128, 128)
    assert batch.audio.shape == (2, 16, 20, 80)
    assert batch.noise.shape == (2, 16, 21, 16, 16)
    assert batch.region_mask is None
    assert batch.loss_keep.all()
    assert 0 <= int(batch.timesteps.min()) <= int(batch.timesteps.max()) < 1000
    driven = augment_driven(batch)
    assert driven.shape == batch.driven_frames.shape
    assert float(driven.min()) >= 0
    assert float(driven.max()) <= 1


def test_frames_landmarks_and_crop_belong_together(material, batches) -> None:
    """The lips are painted where the landmarks are: in every crop their middle is where the crop's matrix takes the landmarks'."""
    data, inference = data_config(material), embedded()
    table = open_clips(data, inference, material, 3)
    made, _ = batches(material, stage=3, n=2)
    seeds = {clip.clip_id: int(clip.video_path[-5]) for clip in table.clips}
    for batch in made:
        for b, clip_id in enumerate(batch.clip_id):
            points = clip_points(seeds[clip_id])
            matrix = face_crop.crop_matrix(face_crop.clip_square(points, embedded().crop_scale), 128)
            lips = face_crop.transform_points(points[:, 48:60].mean(1), matrix)
            found = np.stack([_middle_of_green(frame) for frame in batch.target_frames[b].numpy()])
            # The clip's own motion (0.5 px a frame) names the frames: 16 of them fit in one place only.
            misfit = [np.abs(lips[k : k + 16] - found).max() for k in range(len(points) - 15)]
            best = int(np.argmin(misfit))
            assert misfit[best] < 1.0  # the painted lips lie on whole pixels of the source, which the crop magnifies
            assert sorted(misfit)[1] > misfit[best]
            boxes = batch.mouth_tokens[b].numpy()
            for frame in range(16):
                x, y = lips[best + frame]
                assert boxes[frame, int(y // 16), int(x // 16)]


def _middle_of_green(frame: np.ndarray) -> np.ndarray:
    red, green, blue = frame.astype(int)
    rows, columns = np.nonzero(green > np.maximum(red, blue) + 60)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def test_reference_is_far_from_the_target(material) -> None:
    data, inference = data_config(material, min_gap_frames=20), embedded()
    loader = make_loader(data, inference, open_clips(data, inference, material, 1), seed=0, stage=1, batch_size=4)
    asked = []
    source = loader._loader.dataset._source
    frames = source.frames

    def spy(clip, crop, reference, targets, *rest):
        asked.append((reference, list(targets)))
        return frames(clip, crop, reference, targets, *rest)

    source.frames = spy
    list(itertools.islice(loader, 4))
    assert len(asked) == 16
    assert all(abs(reference - target) >= 20 for reference, targets in asked for target in targets)
    assert len({reference > targets[0] for reference, targets in asked}) == 2


def test_sound_belongs_to_the_clip(material, batches) -> None:
    """Each clip has a tone of its own pitch: the loudest mel band of a window names the clip."""
    table = open_clips(data_config(material), embedded(), material, 2)
    tones = {clip.clip_id: 200 + 20 * int(clip.video_path[-5]) for clip in table.clips}
    bands = {}
    for batch in batches(material, stage=2, n=6)[0]:
        for b, clip_id in enumerate(batch.clip_id):
            if batch.audio_present[b, 0]:
                bands.setdefault(tones[clip_id], set()).add(int(batch.audio[b, 0].float().mean(0).argmax()))
            else:
                assert not batch.audio[b].any()
    ordered = [max(bands[tone]) for tone in sorted(bands)]
    assert all(len(found) == 1 for found in bands.values())
    assert ordered == sorted(ordered)
    assert ordered[0] < ordered[-1]


# --- broken clips ----------------------------------------------------------------------------------------------------------------------


def damage(run):
    """(clip id -> kind) after removing one file, emptying one and cutting one short."""
    paths = manifests.load(run).set_index("clip_id").video_path
    (gone, empty, short), kinds = paths.index[:3], {}
    (run / "videos" / paths[gone].rsplit("/", 1)[1]).unlink()
    (run / "videos" / paths[empty].rsplit("/", 1)[1]).write_bytes(b"")
    file = run / "videos" / paths[short].rsplit("/", 1)[1]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    kinds |= {gone: "missing_file", empty: "empty_file", short: "truncated"}
    return kinds


def test_broken_files_are_passed_over_counted_and_named(run, batches) -> None:
    healthy, _ = batches(run, n=8)
    kinds = damage(run)
    made, loader = batches(run, n=8)
    assert {clip_id: skip.kind for clip_id, (_, skip) in loader.skipped.items()} == kinds
    assert sum(times for times, _ in loader.skipped.values()) == sum(len(batch.skips) for batch in made)
    tensors, names = flat(made)
    before, names_before = flat(healthy)
    assert not set(names) & set(kinds)
    untouched = [i for i, name in enumerate(names_before) if name not in kinds]
    assert [names[i] for i in untouched] == [names_before[i] for i in untouched]
    for name in ("target_frames", "noise", "driven_frames"):
        assert torch.equal(tensors[name][untouched], before[name][untouched])
    for name in ("timesteps", "noise", "modality", "sample_index"):  # a sample keeps all but its clip
        assert torch.equal(tensors[name], before[name])
    assert_same(made, batches(run, n=8, num_workers=2)[0])


def test_a_file_cut_short_since_curation_does_not_repeat_its_last_frame(run, batches) -> None:
    """The index at the file's front still names all frames; some of them are gone."""
    import av

    path = manifests.load(run).video_path.iloc[0]
    fast = path.replace(".mp4", "-fast.mp4")
    with av.open(path) as source, av.open(fast, "w", options={"movflags": "faststart"}) as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    data = Path(fast).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * 0.6)])
    _, loader = batches(run, stage=1, n=40, batch_size=1, settings={"where": f"video_path == '{path}'", "max_skips": 50}.items())
    kinds = {skip.kind for _, skip in loader.skipped.values()}
    assert kinds <= {"truncated", "decode_error"}
    assert kinds


def test_corrupt_rows_are_left_out_with_a_reason(run) -> None:
    def corrupt(rows):
        rows[0]["video_path"] = ""
        rows[1]["start_ms"] = -5
        rows[2]["landmark_hz"] = 5.0
        rows[3]["has_audio"] = False
        return [*rows, rows[4] | {"clip_id": "0" * 20}, rows[4]]

    rewrite(run, corrupt)
    data, inference = data_config(run), embedded()
    table = open_clips(data, inference, run, 2)
    assert len(table) == 1
    assert {reason: len(names) for reason, names in table.left_out.items()} == {
        "with a damaged row": 2,
        "with landmarks at another rate than 25 Hz": 1,
        "without sound": 1,
        "without landmarks": 1,
        "twice in the manifest": 1,
    }
    assert "1 clips of 1 identities; left out: " in table.describe()
    assert len(open_clips(data, inference, run, 1)) == 2  # sound is not needed there


def test_when_nothing_can_be_read_the_run_says_so(run, batches) -> None:
    for file in (run / "videos").iterdir():
        file.unlink()
    for workers in (0, 1):
        with pytest.raises(manifests.UserError, match=r"3 clips in a row cannot be read.*missing_file.*data\.max_skips"):
            batches(run, n=1, settings={"max_skips": 3}.items(), num_workers=workers)


def test_damaged_landmarks_are_named(run) -> None:
    table = open_clips(data_config(run), embedded(), run, 1)
    side = run / "landmarks" / "0.parquet"
    data = bytearray(side.read_bytes())
    data[200:2000] = bytes(1800)
    side.write_bytes(data)
    data, inference = data_config(run), embedded()
    loader = make_loader(data, inference, table, seed=0, stage=1, batch_size=4)
    list(itertools.islice(loader, 2))
    assert [skip.kind for _, skip in loader.skipped.values()] == ["no_landmarks"]


def test_clips_too_short_for_the_gap_are_named(material, batches) -> None:
    with pytest.raises(manifests.UserError, match=r"too_short: it has not 16 frames in a row"):
        batches(material, stage=3, n=1, settings={"min_gap_frames": 40}.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"where": "acepted"}, "the query 'acepted' cannot be read"),
        ({"where": "accepted and fps > 1000"}, "has no clip to train on: 0 of 5 rows"),
        ({"split": "test"}, "of split 'test'"),
    ],
)
def test_queries_that_select_nothing(material, settings, message, batches) -> None:
    with pytest.raises(manifests.UserError, match=message):
        batches(material, settings=settings.items())


def test_a_manifest_file_is_as_good_as_its_folder(material) -> None:
    data, inference = data_config(material), embedded()
    tables = [open_clips(data, inference, place, 1) for place in (material, material / "manifest.parquet")]
    assert tables[0].fingerprint == tables[1].fingerprint


def test_batches_move_as_a_whole(material, batches) -> None:
    (batch,), _ = batches(material, n=1, batch_size=8)
    moved = batch.to("meta")
    assert isinstance(batch.region_mask, RegionMask)
    assert moved.region_mask.keep.device.type == moved.noise.device.type == moved.augmentation.hue.device.type == "meta"
    assert moved.clip_id == batch.clip_id
