"""Renders a set of people's clips: in this process or on Ray, resumable clip by clip.

Layout of a set's directory::

    people.json           the settings, written first
    clips/NAME.mp4        H.264 and AAC
    truth/NAME.safetensors  written after the clip: a clip that has one that names its SHA-256 is finished
    clips.csv             a row a clip, written last: path, identity, split, licence and the person's traits; source `folder` reads it too
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import manifests
from curation.job.executors import choose, on_ray
from curation.job.lock import hold
from curation.job.progress import Progress
from curation.job.worker import Tally
from curation.people.clip import render_clip, sha256
from curation.people.settings import SETTING_NAMES, SETTINGS_FILE, PeopleSettings, Take
from curation.people.truth import made_with
from manifests import UserError
from manifests.atomic import put

LICENCE = "CC0-1.0 (MakeHuman shape data), rendered by this project"
INDEX_FILE = "clips.csv"
RAY_FROM_CLIPS = 24  # starting Ray costs as long as rendering a few clips
_WHEELS = ("av", "numpy", "numba", "opencv-python-headless", "scikit-image")
_VOICE_CODE = ("encode", "mouth", "phonemes", "voice")
_NOT_IN_CLIPS = frozenset({"__init__", "bake", "job", "sheet"})  # modules that decide no clip's bytes


@dataclass(frozen=True)
class TakeFile:
    """A clip of a set on the disk."""

    take: Take
    video: Path
    truth: Path


def take_files(out_dir: Path, settings: PeopleSettings) -> list[TakeFile]:
    """Where the clips of a set lie, person after person; they need not be there."""
    return [_file_of(Path(out_dir), take) for take in settings.takes()]


def _file_of(out_dir: Path, take: Take) -> TakeFile:
    return TakeFile(take, out_dir / "clips" / f"{take.name}.mp4", out_dir / "truth" / f"{take.name}.safetensors")


def render_people(
    out_dir: str | Path,
    settings: PeopleSettings,
    *,
    workers: int = 0,
    executor: str = "auto",
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> list[TakeFile]:
    """Render what `out_dir` lacks of a set. Killed at any moment, the same call continues, to the same bytes.

    A set that lies there may be asked for with more people or clips; with other settings it is an error. Clips of another version of the
    code, the data or the libraries are rendered again.

    Args:
        workers: processes on Ray; 0 = one a core.
        executor: inprocess | ray | auto: Ray for 24 clips and two workers on.
        say: gets one line of text now and then.

    Raises:
        UserError: a mistake of the user's, one line.
    """
    out_dir = Path(out_dir)
    _open(out_dir, settings)
    with hold(out_dir):
        put(out_dir / SETTINGS_FILE, (json.dumps(asdict(settings), indent=1) + "\n").encode())
        files = take_files(out_dir, settings)
        for left_by_a_kill in (*out_dir.glob("clips/.*.tmp"), *out_dir.glob("truth/.*.tmp")):
            left_by_a_kill.unlink(missing_ok=True)
        missing = [file for file in files if not is_finished(file)]
        if missing:
            chosen = choose(executor, workers, len(missing), RAY_FROM_CLIPS)
            seconds = f"{settings.seconds:g} s at {settings.size_px} px"
            say(f"{len(missing)} of {len(files)} clips to render, {seconds}, {'in this process' if chosen == 'inprocess' else 'on Ray'}")
            _work(chosen, missing, settings, out_dir, workers, say)
        put(out_dir / INDEX_FILE, _index(out_dir, files).encode())
    return files


def read_settings(out_dir: str | Path) -> PeopleSettings | None:
    """The settings of the set in a directory; None if there is none.

    Raises:
        UserError: there is one of another version.
    """
    file = Path(out_dir) / SETTINGS_FILE
    try:
        tree = json.loads(file.read_text("utf-8"))
        return PeopleSettings(**{name: tree[name] for name in SETTING_NAMES})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is no settings file of this version ({error}); choose another directory") from error


def is_finished(file: TakeFile) -> bool:
    """Video and truth are there, unchanged and of this version."""
    made = made_with(file.truth)
    return made.get("maker") == maker() and file.video.exists() and made.get("video_sha256") == sha256(file.video)


@cache
def maker() -> str:
    """Names what a clip's bytes depend on besides its settings: code, data and libraries."""
    here, digest = Path(__file__).parent, hashlib.blake2b(digest_size=10)
    code = sorted(path for path in here.glob("*.py") if path.stem not in _NOT_IN_CLIPS)
    code += [here.parent / "samples" / f"{name}.py" for name in _VOICE_CODE]
    for path in [*code, *sorted(here.glob("*.safetensors"))]:
        digest.update(path.read_bytes())
    for wheel in _WHEELS:
        digest.update(f"{wheel} {_version(wheel)}\n".encode())
    return digest.hexdigest()


class PeopleWorker:
    """Renders clip after clip; on Ray, a task is one clip."""

    def __init__(self, settings: PeopleSettings, out_dir: str):
        import cv2

        cv2.setNumThreads(1)  # a worker is one core; parallel work is more workers
        self._settings, self._out_dir = settings, Path(out_dir)

    def run(self, file: TakeFile) -> Tally:
        truth = render_clip(file.take, self._settings, file.video, file.truth, maker())
        return Tally(clips=1, media_ms=1000 * truth.n_frames / truth.fps)

    def __call__(self, task: str) -> Tally:
        return self.run(_file_of(self._out_dir, Take(**json.loads(task))))


def _work(chosen: str, missing: list[TakeFile], settings: PeopleSettings, out_dir: Path, workers: int, say: Callable[[str], None]) -> None:
    progress = Progress(len(missing))
    if chosen == "ray":
        tasks = [json.dumps(asdict(file.take)) for file in missing]
        for _, tally in on_ray(tasks, PeopleWorker, (settings, str(out_dir.absolute())), workers):
            progress.add(tally)
    else:
        worker = PeopleWorker(settings, str(out_dir))
        for file in missing:
            progress.add(worker.run(file))
    progress.close()


def _open(out_dir: Path, settings: PeopleSettings) -> None:
    """Make the directories, or see that what lies there is a set with these settings."""
    known = read_settings(out_dir)
    if known is None and out_dir.exists() and any(not path.name.startswith(".") for path in out_dir.iterdir()):
        raise UserError(f"{out_dir} holds other files; choose a new directory for the people's clips, e.g. outputs/people")
    if known is not None and known.lasting() != settings.lasting():
        other = [f"{name} {value}" for name, value in known.lasting().items() if value != settings.lasting()[name]]
        raise UserError(f"{out_dir} holds people with {', '.join(other)}; choose another directory, or the same settings")
    try:
        for name in ("clips", "truth"):
            (out_dir / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write people's clips to {out_dir}: {error.strerror}; choose another directory with --out") from error


def _index(out_dir: Path, files: list[TakeFile]) -> str:
    """`clips.csv`: a row a clip."""
    from curation.people.person import Person

    traits = ("sex", "age_years", "skin_tone", "hair_style", "beard", "glasses")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "truth", "identity", "split", "licence", *traits])
    for file in files:
        person, identity = Person.from_seed(file.take.person_seed), file.take.identity
        paths = [path.relative_to(out_dir).as_posix() for path in (file.video, file.truth)]
        row = [round(value, 2) if isinstance(value := getattr(person, name), float) else value for name in traits]
        writer.writerow([*paths, identity, manifests.split(identity), LICENCE, *row])
    return text.getvalue()


def _version(wheel: str) -> str:
    try:
        return version(wheel)
    except PackageNotFoundError:
        return ""
