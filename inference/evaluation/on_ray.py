"""Judging on Ray: one task is one pair with all its rows, so that its driving clip is read once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from curation.job.executors import on_ray
from curation.job.gpus import NO_GPU, GpuDemand, gpu_memories_mib
from curation.job.tally import Tally
from inference.evaluation.judge import Judge, Settings, Task
from inference.evaluation.metrics.registry import load_metrics
from inference.evaluation.pairs import Pair
from manifests.errors import UserError


def judge_on_ray(tasks: list[Task], settings: Settings, out: Path, expected: list[str], on_rows: Callable[[int], None]) -> None:
    """Judges every task on `settings.workers` processes; each writes its rows itself, and a dead one's pair is done again.

    Args:
        expected: the metrics that every process has to have; one that lacks any ends the run.
        on_rows: called with the number of rows that came in.
    """
    gpu = GpuDemand(memory_mib=1, share=min(1.0, max(1, _gpus()) / settings.workers)) if _on_gpu(settings) else NO_GPU
    by_pair = [list(group) for _, group in groupby(tasks, key=lambda task: task.pair.pair_id)]
    texts = [json.dumps([_to_json(task) for task in group]) for group in by_pair]
    for _, tally in on_ray(texts, _RayJudge, (settings, str(out.absolute()), expected), settings.workers, gpu):
        on_rows(tally.clips)


class _RayJudge:
    """A `Judge` on Ray: a task is one pair."""

    def __init__(self, settings: Settings, out: str, expected: list[str]):
        metrics = load_metrics(settings.metrics, settings.metric_settings)
        if lacking := sorted(set(expected) - set(metrics.names)):
            raise UserError(f"a process cannot run {lacking[0]}: {metrics.unavailable.get(lacking[0], 'not loaded')}")
        self._judge = Judge.of(settings, Path(out), metrics)

    def __call__(self, task: str) -> Tally:
        rows = [self._judge.judge(_from_json(values)) for values in json.loads(task)]
        return Tally(clips=len(rows), failed=sum(row["status"] == "failed" for row in rows))


def _on_gpu(settings: Settings) -> bool:
    return any(str(one.get("device", "")).startswith("cuda") for one in settings.metric_settings.values())


def _gpus() -> int:
    return len(gpu_memories_mib())


def _to_json(task: Task) -> dict[str, Any]:
    return {**asdict(task), "row_file": str(task.row_file.absolute()), "notes": dict(task.notes)}


def _from_json(values: dict[str, Any]) -> Task:
    return Task(**{**values, "pair": Pair(**values["pair"]), "row_file": Path(values["row_file"])})
