"""A run from start to end: list the clips, work out what is missing or stale, run it, merge the ledger into a manifest."""

from __future__ import annotations

import gc
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

import manifests
from curation import landmarks
from curation.config import CurationConfig
from curation.contracts import Clip, IndexReport, Source
from curation.discovery import parts
from curation.job.clip_scorer import make_scorers, part_digests, scorer_columns, unmeasurable
from curation.job.executors import choose, run_inprocess, run_ray
from curation.job.ledger import Ledger, shard_count
from curation.job.progress import Progress
from curation.job.tally import Tally
from curation.job.tasks import open_tasks, retry_tasks
from curation.job.worker import WorkerSpec
from manifests import configuration
from manifests.errors import UserError, did_you_mean
from manifests.places import Place, absolute
from manifests.tables import to_frame
from manifests.version import code_version

MOST_LINES = 10  # of one kind that a person still reads


@dataclass(frozen=True)
class RunResult:
    """What a run did: `fresh` counts the clips that it scored, `table` holds every row of the manifest."""

    manifest_file: Place
    table: pa.Table
    fresh: Tally
    elapsed_s: float
    index: IndexReport
    barred: str


def make_source(name: str, root: str, config: CurationConfig) -> Source:
    """The source called `name` over `root`; unknown names and settings are errors."""
    known = parts("curation.sources", Source)
    if name not in known:
        raise UserError(f"unknown source {name!r}{did_you_mean(name, sorted(known))}")
    return configuration.build(known[name], {"root": root, **config.source_settings}, "source_settings")


def run(
    source_name: str,
    root: str,
    out_dir: str,
    config: CurationConfig,
    *,
    limit: int | None = None,
    retry_where: str | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> RunResult:
    """Score what `out_dir` lacks and write its manifest. Killed at any moment, the same call continues.

    Args:
        limit: look at the first `limit` clips of the source only.
        retry_where: a pandas query; committed rows that it selects are scored again, nothing else is.
        say: gets one line of text now and then.

    Raises:
        UserError: a mistake of the user's, one line.
    """
    manifests.preset(config.preset)
    wanted_parts = part_digests(config, landmarks.make_backend(config.landmarks, config.landmark_settings).name)
    barred = unmeasurable(config)
    for notice in filter(None, (*(scorer.notice for scorer in make_scorers(config)), barred)):
        say(notice)
    ledger = Ledger(out_dir)
    ledger.open()
    with ledger.lock():
        source = make_source(source_name, root, config)
        with ThreadPoolExecutor(1) as pool, _no_garbage_collection():  # a hundred thousand clips are listed at every start
            reading = pool.submit(ledger.states)
            clips = _unique(source.clips(), say)
            states = reading.result()
        index = source.report()
        _say_index(index, say)
        if not clips:
            skipped = f" ({index.skipped()})" if index.skipped() else ""
            raise UserError(f"{root} holds no video that source {source_name!r} recognises{skipped}")
        n_shards = _start(ledger, source_name, root, config, len(clips), index, keep=retry_where is not None)
        version_text = code_version()
        chosen = clips if limit is None else dict(islice(clips.items(), min(limit, len(clips))))
        if retry_where is not None:
            tasks = retry_tasks(ledger, clips, n_shards, retry_where, say)
        else:
            tasks = open_tasks(ledger, states, clips, chosen, n_shards, wanted_parts, say)
        n_clips = sum(len(task.clips) for task in tasks)
        spec = WorkerSpec(config, absolute(out_dir), uuid.uuid4().hex, version_text, _run_config(source_name, root, config))
        progress = Progress(n_clips)
        if tasks:
            executor = choose(config.job.executor, config.workers, n_clips, config.job.ray_from_clips)
            n_named = n_clips if retry_where is not None else len(chosen)
            say(_plan_line(executor, config, n_named, n_clips, len(tasks)))
            if executor == "ray":
                run_ray(tasks, spec, progress.add)
            else:
                run_inprocess(tasks, spec, progress.add, progress.moment)
            progress.close()
            if progress.total.clips:
                _note_session(ledger, progress)
        elif retry_where is not None:
            say("nothing to retry")
        else:
            say(f"all {len(chosen)} clips are committed already; nothing to score")
        table = merge(ledger, config, spec.run_config)
    return RunResult(ledger.manifest_file, table, progress.total, progress.elapsed_s, index, barred)


def preview(source: Source, limit: int | None) -> list[Clip]:
    """The first `limit` distinct clips of a source, in its order."""
    return list(_unique(source.clips(), lambda line: None).values())[:limit]


def merge(ledger: Ledger, config: CurationConfig, run_config: dict[str, Any]) -> pa.Table:
    """All committed rows as one manifest, judged by the preset of `config`; written atomically."""
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(manifests.read_table, ledger.shard_files()))
    table = pa.concat_tables(tables, promote_options="permissive")
    judged = manifests.apply(to_frame(table), preset=config.preset, warn=False)
    manifests.write(judged, ledger.manifest_file, run_config, scorer_columns(make_scorers(config)))
    return manifests.read_table(ledger.manifest_file)


def _unique(clips: Iterable[Clip], say: Callable[[str], None]) -> dict[str, Clip]:
    found: dict[str, Clip] = {}
    for clip in clips:
        if found.setdefault(clip.clip_id, clip) is not clip:
            say(f"the source names {clip.source_key!r} {clip.start_ms}..{clip.end_ms} ms twice; the first is used")
    return found


def _say_index(report: IndexReport, say: Callable[[str], None]) -> None:
    """What the source could not use, before anything is scored."""
    if report.missing:
        say(f"the index names {report.n_named} clips; {len(report.missing)} files are not on the disk, e.g. {report.missing[0]}")
    for line in report.malformed[:MOST_LINES]:
        say(f"skipped {line}")
    if len(report.malformed) > MOST_LINES:
        say(f"... and {len(report.malformed) - MOST_LINES} more lines that could not be read")
    if report.passed_over:
        say(f"no videos by their names, passed over: {', '.join(f'{n} {suffix}' for suffix, n in report.passed_over[:MOST_LINES])}")
    for note in report.notes:
        say(note)


def _run_config(source_name: str, root: str, config: CurationConfig) -> dict[str, Any]:
    return {"source": source_name, "root": str(root), "config": configuration.to_tree(config)}


def _start(ledger: Ledger, source_name: str, root: str, config: CurationConfig, n_clips: int, index: IndexReport, *, keep: bool) -> int:
    """Save the run's file, or check that the directory holds a run of the same source; the number of shards.

    Args:
        keep: leave the file as it is: settings of a retry are for that retry.
    """
    old = ledger.read_run()
    root = absolute(root)
    if old is not None and (old["source"], old["root"]) != (source_name, root):
        held = f"a run of source {old['source']!r} over {old['root']}"
        raise UserError(f"{ledger.out_dir} holds {held}, not of {source_name!r} over {root}; choose another OUT")
    if old is not None and keep:
        return old["n_shards"]
    n_shards = old["n_shards"] if old else shard_count(n_clips, config.job.shard_clips)
    kept = {"last_session": old["last_session"]} if old and "last_session" in old else {}
    left_out = {"malformed": len(index.malformed), "missing": len(index.missing), "passed_over": dict(index.passed_over)}
    ledger.write_run({**_run_config(source_name, root, config), "n_shards": n_shards, "index": left_out, **kept})
    return n_shards


def _note_session(ledger: Ledger, progress: Progress) -> None:
    """Keep how fast the last session was that scored something; the report shows it."""
    total = progress.total
    session = {"clips": total.clips, "media_s": round(total.media_ms / 1000, 3), "elapsed_s": round(progress.elapsed_s, 3)}
    ledger.write_run({**(ledger.read_run() or {}), "last_session": session})


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Nothing that is listed becomes garbage, but each collection would look at all of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _plan_line(executor: str, config: CurationConfig, n_clips: int, n_todo: int, n_shards: int) -> str:
    place = "in this process" if executor == "inprocess" else "on Ray"
    return f"{n_todo} of {n_clips} clips to do, in {n_shards} shards, {place} ({config.profile} profile, preset {config.preset})"
