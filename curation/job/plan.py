"""What a run would cost: clips, hours, bytes, and time from a sample that is really scored (and thrown away)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from curation.config import CurationConfig
from curation.contracts import Clip, ClipError, IndexReport
from curation.job.clip_scorer import ClipScorer, unmeasurable
from curation.job.executors import choose
from curation.job.gpus import GpuDemand
from curation.job.progress import STAGES
from curation.job.run import make_source, preview
from curation.media import MediaReader
from curation.scaling.estimate import Scale, Speed, estimate_lines, speeds_of
from curation.wording import duration
from manifests.places import is_url, place

LONG_MS = 10_000  # of clips whose end nobody says
RAY_START_S = 11.0  # what Ray takes to come up on this machine's two cores (docs/results/curation.md)
N_PROBED = 40  # clips, spread over the source: their lengths and sizes stand for all


@dataclass(frozen=True)
class Plan:
    """Figures of a planned run. Durations of clips that were not probed are extrapolated from those that were."""

    n_clips: int
    n_files: int
    n_bytes: int
    media_s: float
    n_probed: int
    n_unreadable: int
    report: IndexReport
    workers: int
    executor: str
    measured_media_s: float
    measured_wall_s: float
    stage_share: dict[str, float]
    speeds: tuple[Speed, ...] = ()
    scale: Scale | None = None
    barred: str = ""
    start_s: float = 0.0

    @property
    def estimated_s(self) -> float | None:
        """Seconds that the run would take; None if no sampled clip could be scored."""
        if not self.measured_media_s:
            return None
        return self.start_s + self.media_s * self.measured_wall_s / self.measured_media_s / self.workers

    def text(self) -> str:
        lines = [
            f"clips      {self.n_clips} in {self.n_files} files, {self.n_bytes / 1e9:.2f} GB",
            f"video      {self.media_s / 3600:.2f} h (from {self.n_probed} probed files, {self.n_unreadable} of them unreadable)",
            f"workers    {self.workers}, {'in this process' if self.executor == 'inprocess' else 'on Ray'}",
        ]
        if self.report.missing:
            lines.append(f"missing    {len(self.report.missing)} of {self.report.n_named} that the index names")
        if self.report.malformed:
            lines.append(f"malformed  {len(self.report.malformed)} lines of the index")
        if self.estimated_s is None:
            lines.append("time       unknown: none of the sampled clips could be scored")
        else:
            speed = self.measured_media_s / self.measured_wall_s
            stages = ", ".join(f"{stage} {share:.0%}" for stage, share in self.stage_share.items())
            lines.append(f"measured   {speed:.1f}x real time a worker, over {self.measured_media_s:.0f} s of video ({stages})")
            lines.append(f"time       about {duration(self.estimated_s)}")
        if self.barred:
            lines.append(f"preset     {self.barred}")
        if self.speeds:
            lines += ["", *estimate_lines(self.speeds, self.scale or Scale(hours=self.media_s / 3600, cores=self.workers))]
        return "\n".join(lines)


def make_plan(
    source_name: str,
    root: str,
    config: CurationConfig,
    *,
    limit: int | None = None,
    n_measured: int = 3,
    scale: Scale | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """List the clips of a source, probe up to 40 files spread over them, score `n_measured`; writes nothing."""
    source = make_source(source_name, root, config)
    clips = preview(source, limit)
    sizes = {clip.video_path: _size(clip.video_path) for clip in clips}
    probed = _spread(clips, N_PROBED)
    durations_s, unreadable = _durations(probed)
    say(f"{len(clips)} clips listed, {len(probed)} probed; now scoring {n_measured} of them")
    measured = _spread([clip for clip in probed if clip.clip_id in durations_s], n_measured)
    media_s, wall_s, shares, rows, loading_s = _measure(measured, config)
    known_s = sum(durations_s.values())
    workers = config.workers or os.cpu_count() or 1
    executor = choose(config.job.executor, config.workers, len(clips), config.job.ray_from_clips)
    start_s = loading_s + (RAY_START_S if executor == "ray" else 0.0)
    return Plan(
        n_clips=len(clips),
        n_files=len(sizes),
        n_bytes=sum(sizes.values()),
        media_s=known_s / len(probed) * len(clips) if probed else 0.0,
        n_probed=len(probed),
        n_unreadable=unreadable,
        report=source.report(),
        workers=workers if executor == "ray" else 1,
        executor=executor,
        measured_media_s=media_s,
        measured_wall_s=wall_s,
        stage_share=shares,
        speeds=speeds_of(rows, n_gpu_stages=int(GpuDemand.of(config).memory_mib > 0)),
        scale=scale,
        barred=unmeasurable(config),
        start_s=start_s,
    )


def _size(path: str) -> int:
    try:
        return place(path).stat().st_size if is_url(path) else os.stat(path).st_size  # noqa: PTH116 - names may be no valid Unicode
    except OSError:
        return 0


def _spread(clips: Sequence[Clip], n: int) -> list[Clip]:
    """At most `n` clips at even distances."""
    step = max(1, -(-len(clips) // n))
    return list(clips[::step])


def _durations(clips: Sequence[Clip]) -> tuple[dict[str, float], int]:
    found, unreadable = {}, 0
    with MediaReader() as reader:
        for clip in clips:
            if clip.end_ms is not None:
                found[clip.clip_id] = (clip.end_ms - clip.start_ms) / 1000
                continue
            try:
                found[clip.clip_id] = max(0.0, reader.probe(clip.video_path).duration_ms - clip.start_ms) / 1000
            except ClipError:
                unreadable += 1
    return found, unreadable


def _measure(clips: Sequence[Clip], config: CurationConfig) -> tuple[float, float, dict[str, float], list[dict[str, Any]], float]:
    """Seconds of video, seconds of wall time, share of each stage, and the rows, of the clips that could be scored; seconds that a worker
    takes to load what it needs."""
    media_s = wall_s = loading_s = 0.0
    first = min(clips, key=lambda clip: (clip.end_ms or LONG_MS) - clip.start_ms) if len(clips) > 1 else None
    rows = []
    cost: Counter[str] = Counter()
    started = time.perf_counter()
    with ClipScorer(config, "plan") as scorer:
        if first is not None:  # what starts once a worker is not counted as if each clip took it
            scorer.score(first)
            loading_s = time.perf_counter() - started
        for clip in clips:
            began = time.perf_counter()
            row = scorer.score(clip).row
            if clip is first:
                loading_s = max(0.0, loading_s - (time.perf_counter() - began))
            if row["status"] == "scored":
                wall_s += time.perf_counter() - began
                media_s += row["duration_ms"] / 1000
                rows.append(row | {"wall_ms": (time.perf_counter() - began) * 1000})
                cost.update({stage: row.get(name) or 0.0 for stage, name in STAGES.items()})
    return media_s, wall_s, {stage: value / cost.total() for stage, value in cost.most_common()} if cost.total() else {}, rows, loading_s
