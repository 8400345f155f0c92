"""An evaluation from start to end: pairs, methods, controls, rows. Killed at any moment, the same call continues."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from curation.job.lock import hold
from curation.live_line import LiveLine, rate_and_left
from inference.evaluation.canonical import check_settings
from inference.evaluation.controls import CONTROLS, GROUND_TRUTH, SHUFFLED
from inference.evaluation.judge import Judge, Settings, Task, read_row
from inference.evaluation.methods import Method, MethodFolder, read_method
from inference.evaluation.metrics.registry import Metrics, load_metrics
from inference.evaluation.on_ray import judge_on_ray
from inference.evaluation.pairs import Pair, PairList
from manifests import UserError
from manifests.atomic import atomic_path
from manifests.leftovers import sweep

RUN_FILE, ROWS_DIR = "run.json", "rows"
NO_VALUE = "no clip gave a value: too short, without a face, real clip or sound, nothing in it changes, or method.yaml names no windows"


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated; `run.json` in its directory."""

    out: Path
    methods: dict[str, Method]
    rows: list[dict[str, Any]]
    unavailable: dict[str, str]


def evaluate(
    predictions: Iterable[str | Path],
    pairs: PairList,
    out: str | Path,
    settings: Settings,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Judges methods against pairs and writes rows and features below `out`.

    Args:
        predictions: folders of `<pair_id>.mp4`, one a method.
        pairs: what was asked; see `inference.evaluation.benchmark.find_pairs`.
        say: gets one line of text now and then.

    Raises:
        UserError: a mistake of the user's, one line.
    """
    check_settings(settings.size_px, settings.longest_ms)
    ids = [pair.pair_id for pair in pairs]
    folders = _methods(predictions, ids)
    for folder in folders.values():
        if folder.extra:
            say(f"{folder.method.name}: {len(folder.extra)} files that no pair asks for are left out, e.g. {folder.extra[0]}")
        if folder.missing:
            gaps = f"{len(folder.missing)} of {len(ids)} pairs have no video"
            say(f"{folder.method.name}: {gaps} and count as failures, e.g. {folder.missing[0]}")
        if len(folder.missing) == len(ids):
            raise UserError(f"{folder.method.name} has no video for any of {len(ids)} pairs; it needs <pair_id>.mp4, e.g. {ids[0]}.mp4")
    out = Path(out)
    with hold(out):
        (out / RUN_FILE).unlink(missing_ok=True)  # rows are about to change: no table from half of them
        for left_by_a_kill in (out, *(out / ROWS_DIR).glob("*/")):
            sweep(left_by_a_kill)
        tasks = _tasks(pairs, folders, out)
        rows, unavailable = _judged(tasks, settings, out, say)
        evaluation = Evaluation(out, {name: folder.method for name, folder in folders.items()}, rows, unavailable)
        _write_run(evaluation, pairs, settings)
    return evaluation


def read_run(out: str | Path) -> dict[str, Any]:
    """`run.json` of an evaluation.

    Raises:
        UserError: there is none.
    """
    file = Path(out) / RUN_FILE
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{out} holds no evaluation ({RUN_FILE}); `python -m inference.evaluation run` makes one") from error


def _methods(predictions: Iterable[str | Path], ids: list[str]) -> dict[str, MethodFolder]:
    found: dict[str, MethodFolder] = {}
    for path in predictions:
        folder = read_method(path, ids)
        name = folder.method.name
        if name in found or name in CONTROLS:
            raise UserError(f"{path}: there is a row called {name!r} already; give the method another name in method.yaml")
        found[name] = folder
    return found


def _tasks(pairs: PairList, folders: dict[str, MethodFolder], out: Path) -> list[Task]:
    """All rows to make, pair by pair, so that a driving clip is read once for all methods."""
    tasks = []
    for number, pair in enumerate(pairs):
        base = Task("", pair, None, _target(pairs, pair), str(pairs.path(pair.reference)), "", Path())
        for name in CONTROLS if pair.real else ():
            lender = _lender(pairs, number) if name == SHUFFLED else ""
            if lender or name != SHUFFLED:
                tasks.append(replace(base, method=name, other_target=lender, row_file=_row_file(out, name, pair.pair_id)))
        for name, folder in folders.items():
            answer = str(folder.videos.get(pair.pair_id, ""))
            tasks.append(replace(base, method=name, answer=answer, notes=folder.method.notes, row_file=_row_file(out, name, pair.pair_id)))
    return tasks


def _target(pairs: PairList, pair: Pair) -> str:
    return str(pairs.path(pair.real or pair.driver or pair.reference))


def _lender(pairs: PairList, number: int) -> str:
    """The clip that lends its sound to a pair: the next one of another person, else the next other clip; "" where there is none."""
    pair = pairs.pairs[number]
    others = [other for other in (*pairs.pairs[number + 1 :], *pairs.pairs[:number]) if _target(pairs, other) != _target(pairs, pair)]
    best = next((other for other in others if other.identity != pair.identity), others[0] if others else None)
    return "" if best is None else _target(pairs, best)


def _row_file(out: Path, method: str, pair_id: str) -> Path:
    return out / ROWS_DIR / re.sub(r"[^\w.+-]", "_", method) / f"{pair_id}.json"


def _judged(tasks: list[Task], settings: Settings, out: Path, say: Callable[[str], None]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows of all tasks, in their order, and the metrics that stay empty."""
    metrics = load_metrics(settings.metrics, settings.metric_settings)
    for name, reason in metrics.unavailable.items():
        say(f"{name} stays empty: {reason}")
    line, began_s, done = LiveLine(), time.monotonic(), 0

    def progress(rows: int) -> None:
        nonlocal done
        done += rows
        if line.is_due or done == len(tasks):
            text = f"{done} of {len(tasks)} rows, {rate_and_left(done, len(tasks), time.monotonic() - began_s, 'rows')}"
            (line.close if done == len(tasks) else line.show)(text)

    if settings.workers > 1:
        judge_on_ray(tasks, settings, out, metrics.names, progress)
    else:
        with Judge.of(settings, out, metrics) as judge:
            for task in tasks:
                judge.judge(task)
                progress(1)
    rows = [row for task in tasks if (row := read_row(task.row_file)) is not None]
    return rows, metrics.unavailable | _without_value(metrics, rows)


def _without_value(metrics: Metrics, rows: list[dict[str, Any]]) -> dict[str, str]:
    """The columns that ran and have not one value, by name, with what that can come from: a table leaves them out."""
    scored = [row for row in rows if row["status"] == "scored"]
    names = [column.name for metric in metrics.clip for column in metric.columns]
    gone = [name for name in names if all(row.get(name) is None for row in scored)]
    gone += [kind.name for kind in metrics.features if not any(kind.name in row["features"] for row in scored)]
    why = NO_VALUE if scored else "no clip could be judged"
    return dict.fromkeys(gone, why)


def _write_run(evaluation: Evaluation, pairs: PairList, settings: Settings) -> None:
    document = {
        "pairs": [pair.pair_id for pair in pairs],
        "pairs_version": pairs.version,
        "protocols": sorted({pair.protocol for pair in pairs}),
        "settings": asdict(settings),
        "methods": {
            name: {**asdict(method), "parameters_b": method.parameters_b if method.parameters_b == method.parameters_b else None}
            for name, method in evaluation.methods.items()
        },
        "controls": [name for name in CONTROLS if any(row["method"] == name for row in evaluation.rows)],
        "ground_truth": GROUND_TRUTH,
        "unavailable": evaluation.unavailable,
    }
    with atomic_path(evaluation.out / RUN_FILE) as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
