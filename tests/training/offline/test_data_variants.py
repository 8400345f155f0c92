"""Offline variants of driving clips: real ONNX and SDXL interfaces with tiny networks, geometry checked, killed and continued."""

import itertools
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import manifests
from curation import face_crop
from curation.contracts import ClipError
from curation.landmarks.arcface import alignment
from curation.landmarks.sixty_eight import RIGID
from curation.media import MediaReader
from manifests.errors import UserError
from tests.inference.driving.test_patches import talking
from tests.training.data_material import data_config, embedded, face_points, picture, rewrite, write_manifest
from training.cli import main
from training.config import load_training_config
from training.data.clips import load_clips
from training.data.frames import VideoFrames
from training.data.loader import make_loader, open_clips
from training.offline.geometry import GeometryBound, difference, part_shifts
from training.offline.stylise import StyliseConfig
from training.offline.swap import OnnxSwapper, paste
from training.offline.variants import VariantConfig, VariantWork, make_variants, variant_file
from training.run import missing_variants

SIZE_PX = 128


def write_networks(folder: Path) -> tuple[Path, Path]:
    """A swapper whose face is the target's with its channels moved by the identity's sign, and an embedder of mean colours."""
    folder.mkdir(parents=True, exist_ok=True)
    face = helper.make_tensor_value_info("target", TensorProto.FLOAT, [1, 3, 128, 128])
    identity = helper.make_tensor_value_info("source", TensorProto.FLOAT, [1, 3])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, 128, 128])
    constants = [
        numpy_helper.from_array(np.array([1, 3, 1, 1], np.int64), "shape"),
        numpy_helper.from_array(np.float32(0.2), "strength"),
        numpy_helper.from_array(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32), "emap"),  # the last one
    ]
    nodes = [
        helper.make_node("Reshape", ["source", "shape"], ["colour"]),
        helper.make_node("Mul", ["colour", "strength"], ["shift"]),
        helper.make_node("Add", ["target", "shift"], ["output"]),
    ]
    swapper = folder / "inswapper_128.onnx"
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "swap", [face, identity], [output], constants),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=9,
        ),
        swapper,
    )
    small = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 112, 112])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3])
    nodes = [helper.make_node("ReduceMean", ["input"], ["embedding"], axes=[2, 3], keepdims=0)]
    embedder = folder / "w600k_r50.onnx"
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "embed", [small], [embedding]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
        ),
        embedder,
    )
    return swapper, embedder


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return write_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_manifest(tmp_path_factory.mktemp("data") / "run", 3, n_frames=30)


class SameFace:
    """A landmark check that finds the face wherever the original's is; the real detector sees no face in schematic ones."""

    def __init__(self, bound):
        self.calls = []

    def require_same(self, originals, variants):
        assert len(originals) == len(variants) > 0


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A models directory with both networks, put there as `models fetch --from` does."""
    write_networks(tmp_path / "origin")
    monkeypatch.setenv("MEGACTOR_MODELS", str(tmp_path / "models"))
    from curation.weights import Store

    for name in ("inswapper", "arcface"):
        Store.standard().fetch(name, origin=tmp_path / "origin")
    return tmp_path / "models"


def config(**settings):
    return VariantConfig(**{"size_px": SIZE_PX, "cached_frames": 0} | settings)


def quiet(line):
    pass


# --- alignment and pasting --------------------------------------------------------------------------------------------------------------


def test_alignment_agrees_with_opencv() -> None:
    points = face_points((90, 80), 100) @ np.array([[0.94, 0.34], [-0.34, 0.94]])
    matrix = alignment(points, 112)
    five = np.float32([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
    wanted = np.float32([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]) + 0.5
    theirs, _ = cv2.estimateAffinePartial2D(five, wanted, method=cv2.LMEDS, refineIters=100)
    residual = [np.square(face_crop.transform_points(five, m) - wanted).sum() for m in (matrix, theirs)]
    assert residual[0] <= residual[1] + 1e-6  # ours is the least-squares optimum
    assert np.abs(matrix[0, 0] - matrix[1, 1]) + np.abs(matrix[0, 1] + matrix[1, 0]) < 1e-12  # a similarity
    rng = np.random.default_rng(0)
    for a, b, x, y in 1e-3 * rng.normal(size=(20, 4)) * [1, 1, 100, 100]:  # no similarity near it is better
        other = matrix + np.array([[a, -b, x], [b, a, y]])
        assert residual[0] <= np.square(face_crop.transform_points(five, other) - wanted).sum() + 1e-9
    assert np.allclose(alignment(points, 128), matrix + np.array([[0, 0, 8], [0, 0, 0]]))


def test_an_unchanged_face_pastes_back_where_it_was() -> None:
    points = face_points((96, 96), 90)
    rgb = cv2.GaussianBlur(picture(points), (0, 0), 2)
    matrix = alignment(points, 128)
    back = paste(rgb, face_crop.warp(rgb, matrix, 128), matrix)
    assert np.abs(back.astype(int) - rgb).max() < 12
    assert np.abs(back.astype(int) - rgb).mean() < 0.5
    marked = paste(rgb, np.full((128, 128, 3), 255, np.uint8), matrix)
    corners = face_crop.transform_points(np.array([[0, 0], [191, 191]]), matrix)
    assert np.array_equal(marked[0, 0], rgb[0, 0]) == (not (corners[0] > 0).all())
    x, y = points[30].astype(int)
    assert (marked[y, x] == 255).all()


def test_the_swapper_is_used_as_inswapper_is(networks) -> None:
    swapper = OnnxSwapper(*networks)
    points = face_points((96, 96), 90)
    source = np.zeros((192, 192, 3), np.uint8)
    source[..., 0] = 255  # an embedding of (1, -1, -1) / sqrt(3), which emap turns into (-1, 1, -1) / sqrt(3)
    identity = swapper.identity(source, points)
    assert np.allclose(identity, np.array([[-1, 1, -1]]) / np.sqrt(3), atol=1e-5)
    grey = np.full((192, 192, 3), 128, np.uint8)
    swapped = swapper.swap(grey, points, identity)
    x, y = points[30].astype(int)
    assert np.abs(swapped[y, x] - (128 + np.array([-1, 1, -1]) * 0.2 / np.sqrt(3) * 255)).max() <= 1
    assert np.array_equal(swapped[0, 0], grey[0, 0])


def test_files_that_are_no_swapper_are_refused(networks, tmp_path) -> None:
    _, embedder = networks
    with pytest.raises(UserError, match="is no swapper"):
        OnnxSwapper(embedder, embedder)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UserError, match="onnxruntime cannot open"):
        OnnxSwapper(tmp_path / "text.onnx", embedder)


def test_a_swapper_that_cannot_run_where_it_was_asked_to_is_refused(networks, monkeypatch) -> None:
    """onnxruntime opens a session on the CPU where CUDA does not run; nobody would notice but by the hours it takes."""
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UserError, match=r"provider cuda was asked for.*make setup-gpu.*--device cpu"):
        OnnxSwapper(*networks, "cuda")
    monkeypatch.undo()
    monkeypatch.setattr("curation.onnx_session.require_provider", lambda provider, otherwise: None)
    with pytest.raises(UserError, match=r"runs on CPUExecutionProvider.*make doctor|cannot open"):
        OnnxSwapper(*networks, "cuda")


# --- geometry ---------------------------------------------------------------------------------------------------------------------------


def test_shifts_are_counted_by_part() -> None:
    before = np.stack([face_points((96, 96), 90)] * 3)
    after = before.copy()
    unit = np.linalg.norm(before[0, 42:48].mean(0) - before[0, 36:42].mean(0))
    after[1, 48:68] += [0, 0.2 * unit]
    after[2] = np.nan
    shifts = part_shifts(before, after)
    assert shifts["mouth"] == pytest.approx([0, 0.2, np.inf])
    assert shifts["right eye"] == pytest.approx([0, 0, np.inf])


def standing_still(points: np.ndarray) -> np.ndarray:
    """The same head, whose eyes and mouth keep their median shape and place in it: speech and blinks are gone."""
    base = points[:, RIGID].mean(axis=1, keepdims=True)
    result = points - base
    moving = np.setdiff1d(np.arange(36, 68), RIGID)
    result[:, moving] = np.median(result[:, moving], axis=0)
    return result + base


def test_a_variant_that_lies_right_and_does_not_move_is_refused() -> None:
    """Its points lie within the bound on place nearly everywhere, which is all that was asked for before."""
    original, _ = talking()
    bound, rng = GeometryBound(), np.random.default_rng(1)
    noisy = original + rng.normal(0, 0.01 * np.linalg.norm(original[0, 45] - original[0, 36]), original.shape)
    assert difference(original, noisy, bound) is None
    still = standing_still(original) + rng.normal(0, 0.3, original.shape)
    only_place = GeometryBound(max_opening_error=1.0, min_correlation=-1.0)
    assert difference(original, still, only_place) is None
    assert "the mouth" in difference(original, still, bound)
    late = original.copy()
    late[:, 48:] += np.roll(original[:, 48:] - original[:, RIGID].mean(1, keepdims=True), 6, axis=0) - (
        original[:, 48:] - original[:, RIGID].mean(1, keepdims=True)
    )
    assert "correlation" in difference(original, late, GeometryBound(max_opening_error=1.0, max_shift=1.0))
    assert difference(still, still + rng.normal(0, 0.3, original.shape), bound) is None  # a face at rest need not correlate


@pytest.mark.parametrize(("eye", "points"), [("right eye", [37, 38, 40, 41]), ("left eye", [43, 44, 46, 47])])
def test_an_eye_that_does_not_blink_is_refused(eye, points) -> None:
    original, _ = talking()
    upper, lower = points[:2], points[2:]
    blinks = np.clip(np.sin(np.arange(100) / 4), 0.0, 1.0)[:, None]
    original[:, upper, 1] += 3 * blinks
    original[:, lower, 1] -= 3 * blinks
    still = original.copy()
    still[:, points] += np.median(original[:, points] - original[:, [30]], axis=0) - (original[:, points] - original[:, [30]])
    assert difference(original, original, GeometryBound()) is None
    assert f"the {eye} does not open and close" in difference(original, still, GeometryBound(max_opening_error=1.0))


@pytest.fixture(scope="module")
def astronaut():
    import importlib.util

    file = Path(importlib.util.find_spec("skimage").origin).parent / "data" / "astronaut.png"
    return cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)[:320, 64:384]


def test_the_real_detector_accepts_colours_and_refuses_moved_mouths(astronaut) -> None:
    from training.offline.geometry import GeometryCheck

    check = GeometryCheck(GeometryBound())
    originals = [astronaut] * 4
    check.require_same(originals, [np.clip(astronaut * [0.8, 1.0, 1.2] + 10, 0, 255).astype(np.uint8)] * 4)
    wide = cv2.resize(astronaut, (320, 380))[30:350]
    with pytest.raises(ClipError, match="moved by") as refused:
        check.require_same(originals, [wide] * 4)
    assert refused.value.kind == "geometry"
    with pytest.raises(ClipError, match="4 without a face"):
        check.require_same(originals, [np.random.default_rng(0).integers(0, 256, astronaut.shape, np.uint8)] * 4)
    with pytest.raises(ClipError, match="no face is found on the original"):
        check.require_same([np.zeros_like(astronaut)] * 4, originals)


# --- the job ----------------------------------------------------------------------------------------------------------------------------


def test_swapped_variants_reach_the_driven_frames(run, store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("training.offline.variants.GeometryCheck", SameFace)
    result = make_variants(config(), "swap", str(run), str(tmp_path / "out"), executor="inprocess", say=quiet)
    assert (result.n_clips, result.n_fresh, result.problems) == (3, 3, {})
    table = manifests.load(tmp_path / "out")
    assert manifests.validate(table) == manifests.validate(manifests.load(run))
    assert list(table.clip_id) == list(manifests.load(run).clip_id)
    with MediaReader() as reader:
        for clip_id, path in zip(table.clip_id, table.driven_swap_path, strict=True):
            assert Path(path) == variant_file(tmp_path / "out" / "variants" / "swap", clip_id)
            assert len(reader.pictures_at(path, [40.0 * k for k in range(30)], strict=True)) == 30
            assert reader.probe(path).width_px == SIZE_PX
    data, inference = data_config(run, variant_share=1.0), embedded()
    swapped, plain = (
        next(iter(make_loader(d, inference, open_clips(d, inference, tmp_path / "out", 1), seed=0, stage=1, batch_size=8)))
        for d in (data, data_config(run, variant_share=0.0))
    )
    assert (swapped.target_frames == plain.target_frames).all()
    assert (swapped.driven_boxes == plain.driven_boxes).all()
    shown = swapped.shows_mouth | swapped.shows_eyes
    moved = (swapped.driven_frames.float() - plain.driven_frames.float()).norm(dim=2).flatten(1)  # of a pixel's three channels
    # The swap moves a colour by 0.2 of the range, clipped where that is full, and nothing else: the same picture lies under it.
    covered = (plain.driven_frames > 0).any(2).flatten(1)
    assert (moved[shown].max(1).values > 30).all()
    assert moved[covered].median() == pytest.approx(0.2 * 255, abs=20)
    assert moved[~covered].max() == 0
    # Running on: nothing to do; a file that was lost is made again, the same.
    file = Path(table.driven_swap_path[0])
    content = file.read_bytes()
    file.unlink()
    again = make_variants(config(), "swap", str(run), str(tmp_path / "out"), executor="inprocess", say=quiet)
    assert again.n_fresh == 1
    assert file.read_bytes() == content


def test_what_moves_the_face_is_rejected_with_a_reason(run, store, tmp_path) -> None:
    """The real detector, which finds no face in schematic pictures: nothing can be compared, so nothing is accepted."""
    result = make_variants(config(), "swap", str(run), str(tmp_path / "out"), executor="inprocess", say=quiet)
    assert len(result.problems) == 3
    table = manifests.load(tmp_path / "out")
    assert table.driven_swap_path.isna().all()
    assert table.driven_swap_problem.str.startswith("geometry: ").all()
    assert not list((tmp_path / "out" / "variants").rglob("*.mp4"))
    assert len(open_clips(data_config(run), embedded(), tmp_path / "out", 1)) == 3  # the clips themselves are as good as before
    assert "0 of 3 clips have a swap variant" in result.text()


def test_mistakes_are_told_in_one_line(run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MEGACTOR_MODELS", str(tmp_path / "models"))
    for kind, message in (("swap", "python -m curation models fetch inswapper"), ("stylise", "hf download stabilityai/")):
        with pytest.raises(SystemExit) as stopped:
            main(["augment", "--kind", kind, "--manifest", str(run), "--out", str(tmp_path / kind), "--executor", "inprocess"])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match="holds the manifest that is read"):
        make_variants(config(), "swap", str(run), str(run), say=quiet)
    with pytest.raises(UserError, match="variants of another manifest, kind or configuration"):
        make_variants(config(), "stylise", str(run), str(tmp_path / "swap"), say=quiet)


def test_one_identity_has_nobody_to_swap_with(tmp_path, store, monkeypatch) -> None:
    monkeypatch.setattr("training.offline.variants.GeometryCheck", SameFace)
    run = write_manifest(tmp_path / "run", 2, n_frames=20, identities=1)
    with pytest.raises(UserError, match="no clip of split train shows another identity"):
        make_variants(config(), "swap", str(run), str(tmp_path / "out"), executor="inprocess", say=quiet)


def test_faces_are_taken_from_training_clips_alone(run, tmp_path) -> None:
    held_out = write_manifest(tmp_path / "run", 6, n_frames=20, video=False)
    rewrite(held_out, lambda rows: [row | {"split": "train" if k % 3 == 0 else "test"} for k, row in enumerate(rows)])
    table = load_clips(str(held_out), "", "all", 25.0, needs_audio=False)
    work = VariantWork.__new__(VariantWork)
    work._config, work._table = config(), table
    taken = {work.other_identity(clip, attempt).split for clip in table.clips for attempt in range(5)}
    assert taken == {"train"}
    assert {clip.split for clip in table.clips} == {"train", "test"}


def test_only_the_frames_that_a_cache_keeps_are_made(run, store, tmp_path, monkeypatch) -> None:
    """The others are never shown to the network, and never drawn as a variant."""
    monkeypatch.setattr("training.offline.variants.GeometryCheck", SameFace)
    swapped = []
    swap = OnnxSwapper.swap
    monkeypatch.setattr(OnnxSwapper, "swap", lambda self, *given: swapped.append(1) or swap(self, *given))
    some = config(cached_frames=8, run_frames=4)
    make_variants(some, "swap", str(run), str(tmp_path / "out"), executor="inprocess", say=quiet)
    table = manifests.load(tmp_path / "out")
    made = [set(frames) for frames in table.driven_swap_frames]
    assert all(0 < len(frames) <= 12 for frames in made)
    assert len(swapped) == sum(len(frames) for frames in made)
    data = data_config(run, variant_share=1.0, num_frames=4, cached_frames=8)
    clips = open_clips(data, embedded(), tmp_path / "out", 3)
    for clip, frames in zip(clips.clips, made, strict=True):
        assert clip.variant_frames == (tuple(sorted(frames)),)
        assert clip.variant_has(0, sorted(frames)[:4])
        assert not clip.variant_has(0, [max(set(range(30)) - frames)])
    asked = []

    class Noting(VideoFrames):
        def frames(self, clip, crop, reference, targets, with_audio, variant):
            asked.append((variant, clip.variant_has(0, targets)))
            return super().frames(clip, crop, reference, targets, with_audio, variant)

    loader = make_loader(data, embedded(), clips, seed=0, stage=1, batch_size=8, source=Noting(data, embedded(), clips))
    list(itertools.islice(loader, 4))
    assert {(variant == 0) == has for variant, has in asked} == {True}
    assert {has for _, has in asked} == {True, False}


def test_a_share_of_variants_that_nobody_made_is_said_or_refused(run) -> None:
    clips = open_clips(data_config(run), embedded(), str(run), 1)
    for profile, share, answer in (
        ("embedded", 0.5, "none of 3 clips have"),
        ("paper", 0.5, None),
        ("paper", 0.0, ""),
        ("embedded", None, ""),
    ):
        overrides = () if share is None else (f"data.variant_share={share}",)
        loaded = load_training_config(profile, 1, overrides)
        if answer is None:
            with pytest.raises(UserError, match=r"variant_share is 0.5, and none of 3.*training augment.*variant_share=0 trains without"):
                missing_variants(loaded, clips)
        else:
            assert answer in (missing_variants(loaded, clips) or "")
            assert bool(answer) == bool(missing_variants(loaded, clips))


# --- stylisation ------------------------------------------------------------------------------------------------------------------------


def write_tiny_sdxl(folder: Path) -> Path:
    """SDXL's pipeline with every part at random and tiny, in the published layout."""
    import json

    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = {
        token: i for i, token in enumerate([*letters, *(c + "</w>" for c in letters), ",</w>", "<|startoftext|>", "<|endoftext|>"])
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()
    text = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=16,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=1,
    )
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=16 + 6 * 8,
        cross_attention_dim=32,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    StableDiffusionXLImg2ImgPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        add_watermarker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.mark.slow
def test_stylised_variants_by_a_tiny_sdxl(run, tmp_path, monkeypatch) -> None:
    folder = write_tiny_sdxl(tmp_path / "sdxl")
    settings = config(stylise=StyliseConfig(path=str(folder), steps=2, strength=0.5))
    refused = make_variants(settings, "stylise", str(run), str(tmp_path / "refused"), executor="inprocess", say=quiet)
    assert len(refused.problems) == 3  # noise is no face
    monkeypatch.setattr("training.offline.variants.GeometryCheck", SameFace)
    result = make_variants(
        settings, "stylise", str(run), str(tmp_path / "out"), where="source_key == 'clip0.mp4'", executor="inprocess", say=quiet
    )
    assert (result.n_clips, result.problems) == (1, {})
    table = manifests.load(tmp_path / "out")
    assert table.driven_stylise_path.notna().sum() == 1
    data = data_config(run, variant_share=1.0, where="driven_stylise_path.notna()")
    loader = make_loader(data, embedded(), open_clips(data, embedded(), tmp_path / "out", 3), seed=0, stage=3, batch_size=2)
    (batch,) = itertools.islice(loader, 1)
    assert not loader.skipped
    assert batch.driven_frames[batch.shows_eyes].any()


@pytest.mark.slow
def test_the_command_on_ray(run, store, tmp_path) -> None:
    """Ray's workers cannot be patched: the real check rejects the schematic faces, and says so in the manifest."""
    command = [sys.executable, "-m", "training", "augment", "--kind", "swap", "--manifest", str(run), "--out", str(tmp_path / "out")]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [*command, "--set", "size_px=128", "--executor", "ray", "--workers", "2"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "0 of 3 clips have a swap variant, 3 looked at now" in done.stdout
