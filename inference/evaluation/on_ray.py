"""Judging on Ray: one task is one pair with all its rows, so that its driving clip is read once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from curation.job.executors import on_ray
from curation.job.worker import Tally
from inference.evaluation.judge import Judge, Settings, Task
from inference.evaluation.metrics.registry import load_metrics
from inference.evaluation.pairs import Pair


def judge_on_ray(tasks: list[Task], settings: Settings, out: Path, on_rows: Callable[[int], None]) -> None:
    """Judges every task on `settings.workers` processes; each writes its rows itself, and a dead one's pair is done again.

    Args:
        on_rows: called with the number of rows that came in.
    """
    by_pair = [list(group) for _, group in groupby(tasks, key=lambda task: task.pair.pair_id)]
    texts = [json.dumps([_to_json(task) for task in group]) for group in by_pair]
    on_ray(texts, _RayJudge, (settings, str(out.absolute())), settings.workers, lambda tally: on_rows(tally.clips))


class _RayJudge:
    """A `Judge` as Ray Data's actor: a batch is one pair."""

    def __init__(self, settings: Settings, out: str):
        self._judge = Judge.of(settings, Path(out), load_metrics(settings.metrics, settings.metric_settings))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[float]]:
        tallies = []
        for text in batch["task"]:
            rows = [self._judge.judge(_from_json(values)) for values in json.loads(str(text))]
            tallies.append(Tally(clips=len(rows), failed=sum(row["status"] == "failed" for row in rows)))
        return {name: [asdict(tally)[name] for tally in tallies] for name in asdict(Tally())}


def _to_json(task: Task) -> dict[str, Any]:
    return {**asdict(task), "row_file": str(task.row_file.absolute()), "notes": dict(task.notes)}


def _from_json(values: dict[str, Any]) -> Task:
    return Task(**{**values, "pair": Pair(**values["pair"]), "row_file": Path(values["row_file"])})
