"""Many animations from a JSONL file: resumable, on one device or as Ray actors, failures as rows.

A line is a `Request` without `out` (an `id` names the result), or a pair of the evaluation's list (`inference.evaluation.pairs`). Results
are OUT/<id>.mp4; OUT/rows/<id>.json says how each went, and OUT/results.jsonl gathers them in the order of the list.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.contracts import ClipError
from curation.job.lock import hold
from curation.job.tally import Tally
from curation.wording import duration
from inference.studio.loading import LoadOptions, files_of, find_model, load
from inference.studio.request import Request
from manifests import UserError, configuration
from manifests.atomic import atomic_path, refuse_source
from manifests.json_text import parse_json
from manifests.leftovers import sweep

if TYPE_CHECKING:
    from inference.pipeline import MegActorSigmaPipeline

ROWS, RESULTS = "rows", "results.jsonl"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_OF_PAIRS_ONLY = ("protocol", "identity", "reference_identity", "real", "signal", "parameters", "pair_id", "driver")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One line of the list. `digest` changes with whatever would change the result."""

    id: str
    request: Request
    digest: str


@dataclass(frozen=True)
class BatchCount:
    done: int
    failed: int
    kept: int


def read_tasks(file: Path, out: Path, defaults: dict[str, Any], model: str) -> list[Task]:
    """Relative paths count from the list's folder.

    Raises:
        UserError: the file is not there; a line is no JSON object, has an unknown or wrong key, or an id twice. The message names the line.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # `splitlines` would also split at what JSON allows within a string
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    tasks: dict[str, Task] = {}
    kept: dict[Path, int] = {}  # templates, by the line that keeps them
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            task = _task(parse_json(line), number, file.parent.absolute(), out.absolute(), defaults, model)
        except (ValueError, TypeError) as error:
            raise UserError(f"{file}, line {number}: {error}") from None
        if task.id in tasks:
            raise UserError(f"{file}, line {number}: id {task.id!r} is there twice")
        tasks[task.id] = task
        if task.request.save_template is not None:
            first = kept.setdefault(Path(os.path.realpath(task.request.save_template)), number)
            if first != number:
                raise UserError(
                    f"{file}, line {number}: save_template {task.request.save_template} is line {first}'s too, and would replace it"
                )
    if not tasks:
        raise UserError(f"{file} has no lines")
    return list(tasks.values())


def run_batch(
    file: str | Path, out: str | Path, options: LoadOptions, defaults: dict[str, Any], workers: int = 0, say: Say = lambda line: None
) -> BatchCount:
    """Does what is not done yet. Lines that failed before are tried again.

    Args:
        defaults: settings of every line that does not say otherwise.
        workers: 0 works in this process; more are Ray actors, one GPU each where the device is CUDA.

    Raises:
        UserError: a mistake in the list, or another batch is writing to `out`.
    """
    file, out = Path(file), Path(out)
    options = LoadOptions(**{**asdict(options), "model": find_model(options.model)})
    tasks = read_tasks(file, out, defaults, _model_digest(options))
    _keep_sources(file, out, tasks, files_of(options.model))
    with hold(out):
        return _do(tasks, out, options, workers, say)


def _do(tasks: list[Task], out: Path, options: LoadOptions, workers: int, say: Say) -> BatchCount:
    (out / ROWS).mkdir(parents=True, exist_ok=True)
    sweep(out / ROWS)  # `open_output` sweeps `out`
    to_do = [task for task in tasks if not _is_done(out, task)]
    kept = len(tasks) - len(to_do)
    say(f"{len(tasks)} animations, {kept} done before")
    counts = {"done": 0, "failed": 0}
    began = time.monotonic()

    def tell(row: dict[str, Any]) -> None:
        counts["failed" if row["error"] else "done"] += 1
        n = sum(counts.values())
        left = (time.monotonic() - began) / n * (len(to_do) - n)
        what = row["error"] or f"{row['seconds_per_frame']:.3g} s a frame"
        say(f"{n}/{len(to_do)} {row['id']}: {what}" + (f"; {duration(round(left))} left" if n < len(to_do) else ""))

    try:
        if to_do and workers:
            _run_on_ray(to_do, out, options, workers, tell)
        elif to_do:
            pipe = load(options, say)
            for task in to_do:
                tell(run_task(pipe, task, out))
    finally:
        _gather(out, tasks)
    return BatchCount(counts["done"], counts["failed"], kept)


def run_task(pipe: MegActorSigmaPipeline, task: Task, out: Path) -> dict[str, Any]:
    """One animation; whatever is wrong with its sources becomes a row."""
    from inference.studio.animate import animate

    row: dict[str, Any] = {"id": task.id, "digest": task.digest, "out": Path(task.request.out).name, "error": None}
    try:
        report = animate(pipe, task.request)
        row |= report.to_tree()
    except (UserError, ClipError) as error:
        row["error"] = " ".join(str(error).split())
    except Exception as error:  # one bad pair must not end thousands: the row says what it was
        row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    with atomic_path(_row_file(out, task.id)) as temporary:
        temporary.write_text(json.dumps(row, sort_keys=True) + "\n", encoding="utf-8")
    return row


def _task(tree: Any, number: int, root: Path, out: Path, defaults: dict[str, Any], model: str) -> Task:
    if not isinstance(tree, dict):
        raise UserError("not a JSON object")
    files = [str(root / tree[key]) for key in ("real", "driver") if "pair_id" in tree and isinstance(tree.get(key), str) and tree[key]]
    tree = _of_pair(tree) if "pair_id" in tree else {"id": f"{number:05d}", **tree}
    name = tree.pop("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise UserError(f"id {name!r} is no file name: letters, digits, '.', '_' and '-', a letter or digit first")
    if "out" in tree:
        raise UserError("out is named by id and the batch's own --out")
    tree = {**defaults, **tree}
    for key in ("reference", "driving", "audio", "save_template"):
        if isinstance(tree.get(key), str) and tree[key]:
            tree[key] = str(root / tree[key])
    request = Request.from_tree({**tree, "out": str(out / f"{name}.mp4")})
    refuse_source(request.out, files)  # of a pair also what its method is not given
    text = json.dumps(
        [configuration.to_tree(request), model, [_stamp(tree.get(k)) for k in ("reference", "driving", "audio")]], sort_keys=True
    )
    return Task(name, request, hashlib.sha256(text.encode()).hexdigest()[:16])


def _of_pair(pair: dict[str, Any]) -> dict[str, Any]:
    """A request's keys from a line of the evaluation's pair list: the method is given what `signal` says, and `parameters`."""
    signal = pair.get("signal", "video+audio")
    rest = {key: value for key, value in pair.items() if key not in _OF_PAIRS_ONLY and key != "audio"}
    return {
        "id": pair["pair_id"],
        **rest,
        **pair.get("parameters", {}),
        "driving": (pair.get("driver") or None) if "video" in signal else None,
        "audio": (pair.get("audio") or None) if "audio" in signal else None,
    }


def _stamp(path: Any) -> list[int] | None:
    """Size and time of a source: another file under the same name is another task."""
    try:
        state = Path(path).stat()
    except (OSError, TypeError):
        return None
    return [state.st_size, state.st_mtime_ns]


def _model_digest(options: LoadOptions) -> str:
    folder = Path(str(options.model))
    stamps = (
        [(path.relative_to(folder).as_posix(), _stamp(path)) for path in sorted(folder.rglob("*.safetensors"))] if folder.is_dir() else []
    )
    return json.dumps([options.model, stamps, options.dtype, list(options.overrides)])


def _row_file(out: Path, name: str) -> Path:
    return out / ROWS / f"{name}.json"


def _read_row(out: Path, task: Task) -> dict[str, Any] | None:
    try:
        row = json.loads(_row_file(out, task.id).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) else None


def _keep_sources(file: Path, out: Path, tasks: Sequence[Task], model: Sequence[Path]) -> None:
    """Raises UserError where a result would replace the list, the model, or a file that another line is made from. What an earlier run made
    here may be made again, also where other lines take it."""
    refuse_source(out / RESULTS, [file])
    sources = {key: path for task in tasks for path in _files(task.request) if (key := _inode(path)) is not None}
    sources |= {key: str(path) for path in model if (key := _inode(path)) is not None}
    for task in tasks:
        for output in (task.request.out, task.request.save_template):
            if output is None or (output == task.request.out and _row_file(out, task.id).is_file()):
                continue
            if (key := _inode(output)) is not None and key in sources:
                raise UserError(
                    f"{task.id}: {output} is one of the sources ({sources[key]}), which would be lost: choose another id or --out"
                )


def _files(request: Request) -> list[str]:
    return [path for path in (request.reference, request.driving, request.audio) if path]


def _inode(path: str | Path) -> tuple[int, int] | None:
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return None
    return state.st_dev, state.st_ino


def _is_done(out: Path, task: Task) -> bool:
    row = _read_row(out, task)
    return row is not None and row.get("digest") == task.digest and not row.get("error") and Path(task.request.out).is_file()


def _gather(out: Path, tasks: Sequence[Task]) -> None:
    rows = [row for task in tasks if (row := _read_row(out, task)) is not None]
    with atomic_path(out / RESULTS) as temporary:
        temporary.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")


def _run_on_ray(tasks: Sequence[Task], out: Path, options: LoadOptions, workers: int, tell: Callable[[dict[str, Any]], None]) -> None:
    from curation.job.executors import on_ray
    from curation.job.gpus import NO_GPU, GpuDemand
    from inference.studio.loading import choose_device

    uses_gpu = options.device.startswith("cuda") or (options.device == "auto" and choose_device("auto").type == "cuda")
    texts = [json.dumps({"id": t.id, "request": configuration.to_tree(t.request), "digest": t.digest}) for t in tasks]
    gpu = GpuDemand(memory_mib=1, share=1.0) if uses_gpu else NO_GPU
    by_text = dict(zip(texts, tasks, strict=True))
    for text, _ in on_ray(texts, _Actor, (options, str(out.absolute())), workers, gpu):
        tell(_read_row(out, by_text[text]) or {"id": by_text[text].id, "error": "its row is gone"})


class _Actor:
    """A pipeline of its own; a task is one animation."""

    def __init__(self, options: LoadOptions, out: str):
        self._pipe, self._out = load(options), Path(out)

    def __call__(self, task: str) -> Tally:
        tree = json.loads(task)
        row = run_task(self._pipe, Task(tree["id"], configuration.build(Request, tree["request"]), tree["digest"]), self._out)
        return Tally(clips=1, failed=int(bool(row["error"])))
