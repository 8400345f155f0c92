"""Offline variants of clips for the driving image: one video a clip, cut by its first square, whose faces were changed.

`python -m training augment` makes a new manifest beside copies of the landmarks: the same rows with three more columns, `driven_KIND_path`,
`driven_KIND_frames` and `driven_KIND_problem`. The loader takes driven frames from a variant and everything else from the clip. Only frames
that a latent cache of the same `cached_frames` keeps are made, because each costs a pass of a large network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import manifests
from curation import face_crop
from curation.contracts import ClipError
from curation.face_crop import HEAD_SCALE
from curation.job.gpus import NO_GPU, GpuDemand
from curation.job.lock import hold
from curation.materialise.encoding import write_clip
from curation.materialise.settings import MaterialiseSettings
from curation.media import MediaLimits, MediaReader
from manifests import Column, UserError, configuration
from manifests.atomic import atomic_path, put
from manifests.errors import did_you_mean
from manifests.landmarks import LANDMARKS_DIR
from manifests.schema import column_of
from training.data.clips import VARIANT_KINDS, ClipGeometry, ClipTable, TrainingClip, clip_geometry, load_clips
from training.data.draws import draws
from training.data.latent_cache import chosen_frames
from training.offline.changers import make_changer
from training.offline.clip_job import failures, is_done, run_clips
from training.offline.geometry import GeometryBound, GeometryCheck
from training.offline.stylise import StyliseConfig

_FRAMES_AT_ONCE = 16
_GPU_MEMORY_MIB = {"swap": 2048, "stylise": 12_288}  # rendering anew uses none
_RUN_FILE = "variants.json"


@dataclass(frozen=True)
class VariantConfig:
    """What decides how variants look; section `augment:` of a file given by --config, or --set KEY=VALUE.

    Attributes:
        size_px: side of the variants' pictures; the training's size or more.
        fps: rate of the clips' landmarks.
        crop_scale: as in the inference configuration.
        crf: quality of x264.
        seed: of the draws of identities and prompts.
        cached_frames, run_frames, frame_stride: which frames are made: those of the latent cache of a stage whose samples have `run_frames`
            frames (`cached_frames`, `num_frames` and `frame_stride` of the training's data). cached_frames 0 makes all.
        stylise: the SDXL pipeline.
        bound: how far eyes and mouth may move.
        media: bounds of the decoder.
    """

    size_px: int = 512
    fps: float = 25.0
    crop_scale: float = HEAD_SCALE
    crf: int = 17
    seed: int = 0
    cached_frames: int = 64
    run_frames: int = 16
    frame_stride: int = 1
    stylise: StyliseConfig = field(default_factory=StyliseConfig)
    bound: GeometryBound = field(default_factory=GeometryBound)
    media: MediaLimits = field(default_factory=MediaLimits)


class VariantWork:
    """Makes variants; a `training.offline.clip_job.ClipWork`.

    Args:
        folder: the videos go to `folder/ab/CLIP_ID.mp4`.
        kind: of `VARIANT_KINDS`.
        table: the clips, and those that identities are taken from.
        device: cpu or cuda.
    """

    def __init__(self, folder: str, kind: str, config: VariantConfig, table: ClipTable, device: str):
        self._folder, self._config, self._table = Path(folder), config, table
        self._reader = MediaReader(config.media)
        self._check = GeometryCheck(config.bound)
        self._changer = make_changer(kind, self, config.size_px, config.seed, config.stylise, device)

    def close(self) -> None:
        self._reader.close()

    def make(self, clip: TrainingClip) -> float:
        """Decodes the clip once, changes its frames, checks their geometry, writes the video; a frame that is not made repeats the last."""
        geometry = self.geometry(clip)
        matrix = face_crop.crop_matrix(geometry.squares[0], self._config.size_px)
        points = face_crop.transform_points(geometry.points_px, matrix)
        self._changer.begin(clip)
        n_frames = len(points)
        made = frames_made(self._config, geometry)
        if not len(made):
            raise ClipError("too_short", f"it has not {self._config.run_frames} frames in a row with a face")
        checked = np.intersect1d(made, np.flatnonzero(geometry.seen))
        spread = np.round(np.linspace(0, len(checked) - 1, min(len(checked), self._config.bound.checked_frames))).astype(int)
        looked_at, chosen = set(checked[spread].tolist()), set(made.tolist())
        before: list[np.ndarray] = []
        after: list[np.ndarray] = []

        def changed() -> Iterator[np.ndarray]:
            last = np.zeros((self._config.size_px, self._config.size_px, 3), np.uint8)
            for start, pictures in self._chunks(clip, matrix, n_frames):
                rows = [k for k in range(len(pictures)) if start + k in chosen]
                results = dict(zip(rows, self._changed(pictures, points, start, rows), strict=True)) if rows else {}
                for k, original in enumerate(pictures):
                    last = results.get(k, last)
                    if start + k in looked_at:
                        before.append(original)
                        after.append(last)
                    yield last

        target = variant_file(self._folder, clip.clip_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        settings = MaterialiseSettings(size_px=self._config.size_px, crf=self._config.crf)
        with atomic_path(target) as temporary:
            written = write_clip(temporary, changed(), None, settings)
            if written < n_frames:
                raise ClipError("truncated", f"{written} of the {n_frames} frames with landmarks can be decoded")
            self._check.require_same(before, after)
        return len(made) * 1000 / self._config.fps

    def _changed(self, pictures: np.ndarray, points_px: np.ndarray, start: int, rows: list[int]) -> np.ndarray:
        return self._changer.change(pictures[rows], points_px[start:][rows], start + np.array(rows))

    def geometry(self, clip: TrainingClip) -> ClipGeometry:
        return geometry_of(self._table, clip, self._config)

    def face_of(self, clip: TrainingClip) -> tuple[np.ndarray, np.ndarray]:
        """The picture (S, S, 3) in the middle of a clip's seen frames, and its points (68, 2)."""
        geometry = self.geometry(clip)
        matrix = face_crop.crop_matrix(geometry.squares[0], self._config.size_px)
        frame = int(np.flatnonzero(geometry.seen)[geometry.seen.sum() // 2])
        time_ms = clip.start_ms + float(geometry.times_ms[frame])
        picture = self._reader.pictures_at(clip.video_path, [time_ms], strict=True)[0]
        return face_crop.warp(picture, matrix, self._config.size_px), face_crop.transform_points(geometry.points_px[frame], matrix)

    def other_identity(self, clip: TrainingClip, attempt: int) -> TrainingClip:
        """A training clip of somebody else, drawn by the clip's id: a face of the other splits must not be learnt from.

        Raises:
            UserError: there is nobody else.
        """
        others = [other for other in self._table.clips if other.identity != clip.identity and other.split == "train"]
        if not others:
            raise UserError("no clip of split train shows another identity: there is no other face to swap in")
        number = int.from_bytes(hashlib.blake2b(clip.clip_id.encode(), digest_size=7).digest(), "big")
        return others[int(draws(self._config.seed, 0, number, "swap", attempt).integers(len(others)))]

    def _chunks(self, clip: TrainingClip, matrix: np.ndarray, n_frames: int) -> Iterator[tuple[int, np.ndarray]]:
        """(first frame, (n, S, S, 3) uint8) of every frame with a row of landmarks, in one pass through the file."""
        held: list[np.ndarray] = []
        start = 0
        with self._reader.read(clip.span, sample_hz=self._config.fps, audio=False) as stream:
            for frame in stream.frames():
                if frame.index >= n_frames:
                    break
                held.append(face_crop.warp(frame.rgb, matrix, self._config.size_px))
                if len(held) == _FRAMES_AT_ONCE:
                    yield start, np.stack(held)
                    start, held = start + len(held), []
        if held:
            yield start, np.stack(held)


def geometry_of(table: ClipTable, clip: TrainingClip, config: VariantConfig) -> ClipGeometry:
    """The clip's landmarks and first square."""
    return clip_geometry(table.landmarks, clip.clip_id, config.crop_scale, 1, 0.0)


def variant_file(folder: Path, clip_id: str) -> Path:
    return folder / clip_id[:2] / f"{clip_id}.mp4"


def frames_made(config: VariantConfig, geometry: ClipGeometry) -> np.ndarray:
    """(N,) the clip's frames that a variant shows, ascending; empty where the clip is too short."""
    if not config.cached_frames:
        return np.arange(len(geometry.times_ms))
    return chosen_frames(geometry.seen, config.cached_frames, config.run_frames, config.frame_stride)


def variant_columns(kind: str) -> tuple[Column, Column, Column]:
    """The columns that a kind adds to a manifest."""
    return (
        Column(
            f"driven_{kind}_path", pa.string(), "", f"video for the driving image, faces changed by {kind}; null where there is none", 1
        ),
        Column(
            f"driven_{kind}_frames",
            pa.list_(pa.int32()),
            "frames",
            f"the clip's frames that the {kind} video shows; null where it shows all",
            1,
        ),
        Column(
            f"driven_{kind}_problem", pa.string(), "", f"why the clip has no {kind} variant; null where it has one or none was asked for", 1
        ),
    )


@dataclass(frozen=True)
class VariantResult:
    """What a run did and what the new manifest holds."""

    manifest_file: Path
    kind: str
    n_fresh: int
    n_clips: int
    problems: dict[str, str]

    def text(self) -> str:
        """For a person."""
        made = self.n_clips - len(self.problems)
        lines = [f"{self.manifest_file}: {made} of {self.n_clips} clips have a {self.kind} variant, {self.n_fresh} looked at now"]
        lines += [f"  {clip_id}: {problem}" for clip_id, problem in list(self.problems.items())[:5]]
        more = len(self.problems) - 5
        return "\n".join([*lines, *([f"  and {more} more: column driven_{self.kind}_problem"] if more > 0 else [])])


def make_variants(
    config: VariantConfig,
    kind: str,
    manifest: str,
    out: str,
    *,
    where: str = "accepted",
    executor: str = "auto",
    workers: int = 0,
    device: str = "cpu",
    retry_failed: bool = False,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> VariantResult:
    """Makes variants of the clips that a query selects, and OUT/manifest.parquet. Killed at any moment, the same call continues.

    Args:
        kind: swap, stylise, or rerender (clips of `python -m curation people` alone).
        manifest: a run's folder, or its manifest.parquet; only read. May be the OUT of another kind: the clips then have both.
        out: a folder of its own.

    Raises:
        UserError: no clips, weights that are missing, an OUT of another run.
    """
    if kind not in VARIANT_KINDS:
        raise UserError(f"kind is {kind!r}{did_you_mean(kind, VARIANT_KINDS)}")
    home = Path(str(manifest).rpartition("/")[0] or ".") if str(manifest).endswith(".parquet") else Path(manifest)
    target = Path(out).absolute()
    if target == home.absolute():
        raise UserError(f"{out} holds the manifest that is read; choose another OUT, the new manifest has all of its rows")
    table = load_clips(manifest, where, "all", config.fps, needs_audio=False)
    say(table.describe())
    _require_same_run(target, {"kind": kind, "manifest": str(home.absolute()), "config": _lasting(config)})
    folder = target / "variants" / kind
    missing = [clip for clip in table.clips if not is_done(folder, variant_file(folder, clip.clip_id), clip, retry_failed)]
    gpu = GpuDemand(_GPU_MEMORY_MIB[kind]) if device == "cuda" and kind in _GPU_MEMORY_MIB else NO_GPU
    arguments = (str(folder), kind, config, table, device)
    with hold(target):
        tally = run_clips(folder, missing, VariantWork, arguments, executor=executor, workers=workers, gpu=gpu, say=say)
    ids = {clip.clip_id for clip in table.clips}
    problems = {clip_id: f"{p['kind']}: {p['message']}" for clip_id, p in failures(folder).items() if clip_id in ids}
    made = {}
    if config.cached_frames:
        made = {clip.clip_id: frames_made(config, geometry_of(table, clip, config)).tolist() for clip in table.clips}
    _write_manifest(manifest, home, target, kind, folder, problems, made)
    return VariantResult(target / manifests.store.MANIFEST_FILE, kind, tally.clips, len(table), problems)


def _lasting(config: VariantConfig) -> dict[str, Any]:
    """The settings that change variants."""
    return {name: value for name, value in configuration.to_tree(config).items() if name != "media"}


def _require_same_run(target: Path, run: dict[str, Any]) -> None:
    file = target / _RUN_FILE
    if file.is_file():
        if json.loads(file.read_text()) != run:
            raise UserError(f"{target} holds variants of another manifest, kind or configuration; choose another OUT")
    elif target.exists() and any(target.iterdir()):
        raise UserError(f"{target} holds files of something else; choose another OUT")
    else:
        put(file, json.dumps(run, indent=1).encode())


def _write_manifest(
    manifest: str, home: Path, target: Path, kind: str, folder: Path, problems: dict[str, str], made: dict[str, list[int]]
) -> None:
    """The same rows with this kind's columns; the landmarks first, so that a manifest never stands without them. `made`: clip id -> frames;
    a clip that it lacks shows all."""
    (target / LANDMARKS_DIR).mkdir(parents=True, exist_ok=True)
    for file in sorted((home / LANDMARKS_DIR).glob("*.parquet")):
        copy = target / LANDMARKS_DIR / file.name
        if not copy.is_file():
            with atomic_path(copy) as temporary:
                shutil.copyfile(file, temporary)
    table = manifests.read_table(manifest)
    path_column, frames_column, problem_column = columns = variant_columns(kind)
    rows = table.to_pylist()
    for row in rows:
        file = variant_file(folder, row["clip_id"])
        row[path_column.name] = str(file) if file.is_file() else None
        row[frames_column.name] = made.get(row["clip_id"]) if file.is_file() else None
        row[problem_column.name] = problems.get(row["clip_id"])
    known = {column.name for column in manifests.COLUMNS}
    further = [column_of(f) for f in table.schema if f.name not in known | {column.name for column in columns}]
    run_config = manifests.run_config(manifest) | {f"augment_{kind}": json.loads((target / _RUN_FILE).read_text())}
    manifests.write(rows, target / manifests.store.MANIFEST_FILE, run_config, (*further, *columns))
