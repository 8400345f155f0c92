"""Work that makes one file a clip, offline: resumable, in this process or on Ray, a record for every clip that fails.

A clip is done when its file is there (it appears by rename) or its failure is on record in `failed/CLIP_ID.json`. So a job may be killed
at any moment, and the same call does what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from curation.config import JobConfig
from curation.contracts import ClipError
from curation.job.executors import choose, on_ray
from curation.job.gpus import NO_GPU, GpuDemand
from curation.job.progress import Progress
from curation.job.tally import Tally
from manifests.atomic import put
from manifests.errors import NoLandmarksError
from training.data.clips import TrainingClip

_CLIPS_A_TASK = 8


class ClipWork(Protocol):
    """What is done with each clip. Made anew in every worker, from arguments that can be pickled."""

    def make(self, clip: TrainingClip) -> float:
        """Writes the clip's file by rename; gives the milliseconds of video that it read.

        Raises:
            ClipError, NoLandmarksError: the clip fails, with a reason.
        """
        ...

    def close(self) -> None: ...


def is_done(folder: Path, file: Path, clip: TrainingClip, retry_failed: bool) -> bool:
    """The clip's file is there, or its failure on record."""
    return file.is_file() or (not retry_failed and failure_file(folder, clip.clip_id).is_file())


def failure_file(folder: Path, clip_id: str) -> Path:
    return folder / "failed" / f"{clip_id}.json"


def failures(folder: Path) -> dict[str, dict[str, str]]:
    """clip id -> {"kind", "message"} of the clips on record as failed."""
    found = {}
    for file in sorted((folder / "failed").glob("*.json")):
        with suppress(ValueError):
            found[file.stem] = json.loads(file.read_text())
    return found


def run_clips(
    folder: Path,
    clips: Sequence[TrainingClip],
    make_work: Callable[..., ClipWork],
    arguments: tuple[Any, ...],
    *,
    executor: str = "auto",
    workers: int = 0,
    gpu: GpuDemand = NO_GPU,
    say: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Does the work on `clips`, those that are not done yet.

    Args:
        folder: where failures are recorded.
        make_work: importable; `make_work(*arguments)` makes a worker's `ClipWork`.
        executor: inprocess, ray or auto, see `curation.config.JobConfig`.
        workers: processes on Ray; 0 = one a core, or as many as the GPUs hold.

    Raises:
        UserError: a mistake that holds for all clips, such as weights that are missing.
    """
    progress = Progress(len(clips))
    if not clips:
        say("nothing to do: every clip is done, or on record as failed (--retry-failed)")
        return progress.total
    chosen = choose(executor, workers, len(clips), JobConfig().ray_from_clips)
    say(f"{len(clips)} clips, {'in this process' if chosen == 'inprocess' else 'on Ray'}")
    if chosen == "ray":
        tasks = [
            json.dumps([asdict(clip) for clip in clips[start : start + _CLIPS_A_TASK]]) for start in range(0, len(clips), _CLIPS_A_TASK)
        ]
        for _, tally in on_ray(tasks, RayClipWorker, (str(folder), make_work, arguments), workers, gpu):
            progress.add(tally)
    else:
        work = make_work(*arguments)
        try:
            for clip in clips:
                progress.add(_one(folder, work, clip))
        finally:
            work.close()
    progress.close()
    return progress.total


class RayClipWorker:
    """A `ClipWork` on Ray: a task is a few clips."""

    def __init__(self, folder: str, make_work: Callable[..., ClipWork], arguments: tuple[Any, ...]):
        self._folder, self._work = Path(folder), make_work(*arguments)

    def __call__(self, task: str) -> Tally:
        total = Tally()
        for tree in json.loads(task):
            total.add(_one(self._folder, self._work, _clip_of(tree)))
        return total


def _clip_of(tree: dict[str, Any]) -> TrainingClip:
    """From JSON, which has no tuples."""
    frames = tuple(None if made is None else tuple(made) for made in tree["variant_frames"])
    return TrainingClip(**{**tree, "variants": tuple(tree["variants"]), "variant_frames": frames})


def _one(folder: Path, work: ClipWork, clip: TrainingClip) -> Tally:
    record = failure_file(folder, clip.clip_id)
    try:
        media_ms = work.make(clip)
    except ClipError as error:
        problem = {"kind": error.kind, "message": error.message}
    except NoLandmarksError as error:
        problem = {"kind": "no_landmarks", "message": str(error)}
    else:
        record.unlink(missing_ok=True)
        return Tally(clips=1, media_ms=media_ms)
    put(record, json.dumps(problem).encode())
    return Tally(clips=1, failed=1)
