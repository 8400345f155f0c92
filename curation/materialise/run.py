"""A materialising run from start to end: select rows, work out what is missing, cut it, merge the ledger into a manifest."""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

import manifests
from curation.config import JobConfig, digest
from curation.job.executors import choose, on_ray
from curation.job.ledger import Ledger, ShardState, shard_count
from curation.job.progress import Progress
from curation.job.tally import Tally
from curation.materialise.clip import COLUMNS
from curation.materialise.settings import MaterialiseSettings
from curation.materialise.worker import CLIPS_DIR, RayShardWorker, ShardTask, ShardWorker, WorkerSpec, rows_digest
from manifests import Column, LandmarkIndex
from manifests.errors import UserError
from manifests.schema import column_of
from manifests.tables import to_frame
from manifests.version import code_version

SOURCE = "materialise"  # what OUT/run.yaml says it holds, so that no curation run is started in it
_SCHEMA = frozenset(column.name for column in manifests.COLUMNS)


@dataclass(frozen=True)
class MaterialiseResult:
    """What a run did: `fresh` counts the clips that it cut, `table` holds every row of the new manifest."""

    manifest_file: Path
    table: pa.Table
    fresh: Tally
    elapsed_s: float


def materialise(
    manifest: str,
    out_dir: str,
    settings: MaterialiseSettings,
    *,
    where: str = "accepted",
    executor: str = "auto",
    workers: int = 0,
    shard_clips: int = 0,
    retry_failed: bool = False,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> MaterialiseResult:
    """Cut the clips that a query selects and write OUT/manifest.parquet. Killed at any moment, the same call continues.

    The files that the manifest names are only read.

    Args:
        manifest: a run's directory, finished or still running, or a Parquet file with `landmarks/` beside it.
        where: a pandas query over the manifest.
        executor, workers, shard_clips: as in `curation.config`.
        retry_failed: cut again what failed before.
        say: gets one line of text now and then.

    Raises:
        UserError: a mistake of the user's, one line.
    """
    parent = manifests.read_table(manifest)
    rows = selected(parent, where)
    if not rows:
        raise UserError(f"--where {where!r} selects none of the {len(parent)} clips of {manifest}")
    landmarks = LandmarkIndex(_landmarks_home(manifest))
    ledger = Ledger(out_dir)
    ledger.open()
    with ledger.lock():
        _sweep(ledger)
        what = {"manifest": str(Path(manifest).absolute()) if "://" not in manifest else manifest, "where": where}
        settings_digest = digest(_lasting(settings))
        n_shards = _start(ledger, what, settings, len(rows), shard_clips, _shards_of(manifest))
        run_config = {
            "source": SOURCE,
            "root": what["manifest"],
            "where": where,
            "config": _lasting(settings),
            "parent": {"manifest_hash": table_hash(parent), "run_config": manifests.run_config(manifest)},
        }
        further = tuple(column_of(field) for field in parent.schema if field.name not in _SCHEMA)
        out = str(Path(out_dir).absolute())
        spec = WorkerSpec(out, settings, settings_digest, landmarks, code_version(), run_config, _without_own(further))
        tasks = _tasks(ledger, rows, n_shards, retry_failed)
        n_clips = sum(len(task.rows) for task in tasks)
        progress = Progress(n_clips)
        if tasks:
            chosen = choose(executor, workers, n_clips, JobConfig().ray_from_clips)
            place = "in this process" if chosen == "inprocess" else "on Ray"
            say(f"{n_clips} of {len(rows)} clips to look at, in {len(tasks)} shards, {place} ({settings.size_px} px, {settings.crop} crop)")
            _work(chosen, tasks, spec, workers, progress)
            progress.close()
        else:
            say(f"all {len(rows)} clips are committed already; nothing to cut")
        table = _merge(ledger, {manifests.shard_of(row["source_key"], n_shards) for row in rows}, spec)
    return MaterialiseResult(ledger.manifest_file, table, progress.total, progress.elapsed_s)


def selected(parent: pa.Table, where: str) -> list[dict[str, Any]]:
    """Rows that a pandas query selects, as mappings.

    Raises:
        UserError: no query that pandas understands.
    """
    frame = to_frame(parent)
    try:
        chosen = frame.query(where)
        positions = chosen.index.to_numpy()
    except Exception as error:  # pandas raises whatever the expression raises
        raise UserError(f"--where {where!r} is no query that pandas understands: {' '.join(str(error).split())}") from None
    return parent.take(pa.array(positions, pa.int64())).to_pylist()


def table_hash(table: pa.Table) -> str:
    """Names a manifest by its content: 24 hexadecimal digits over all columns as Arrow writes them."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.blake2b(sink.getvalue(), digest_size=12).hexdigest()


def _sweep(ledger: Ledger) -> None:
    """Remove what writers that were killed left behind; the shards' own folders are swept by their workers."""
    for folder in (ledger.out_dir, *(ledger.out_dir / name for name in ("ledger", "landmarks", "inflight"))):
        for left_by_a_kill in folder.glob(".*.tmp"):
            left_by_a_kill.unlink(missing_ok=True)


def _landmarks_home(manifest: str) -> str:
    """Where the side table of a manifest lies: in its directory."""
    return manifest.rpartition("/")[0] or "." if manifest.endswith(".parquet") else manifest


def _lasting(settings: MaterialiseSettings) -> dict[str, Any]:
    """The settings that change clips."""
    return {name: value for name, value in asdict(settings).items() if name not in ("media", "decode_attempts")}


def _without_own(further: Sequence[Column]) -> tuple[Column, ...]:
    """Columns of the parent that are not written by materialising itself: a parent may be a materialised manifest."""
    own = {column.name for column in COLUMNS}
    return tuple(column for column in further if column.name not in own)


def _shards_of(manifest: str) -> int | None:
    """Shards of the parent's run, so that ours line up with them and read one side table each."""
    file = Path(manifest) / "run.yaml"
    if "://" in manifest or not file.is_file():
        return None
    run = yaml.safe_load(file.read_text())
    return run.get("n_shards") if isinstance(run, dict) else None


def _start(
    ledger: Ledger, what: dict[str, str], settings: MaterialiseSettings, n_clips: int, shard_clips: int, of_parent: int | None
) -> int:
    """Save the run's file, or check that the directory holds the same run; the number of shards."""
    old = ledger.read_run()
    new = {"source": SOURCE, "root": what["manifest"], "where": what["where"], "config": _lasting(settings)}
    if old is not None:
        for name in ("source", "root", "where", "config"):
            if old.get(name) != new[name]:
                raise UserError(f"{ledger.out_dir} holds a run with {name} {old.get(name)!r}, not {new[name]!r}; choose another OUT")
        return old["n_shards"]
    if any((ledger.out_dir / name).exists() for name in ("ledger", "manifest.parquet", CLIPS_DIR)):
        raise UserError(f"{ledger.out_dir} holds files of something else; choose another OUT")
    n_shards = shard_count(n_clips, shard_clips) if shard_clips or not of_parent else of_parent
    ledger.write_run({**new, "n_shards": n_shards})
    return n_shards


def _tasks(ledger: Ledger, rows: list[dict[str, Any]], n_shards: int, retry_failed: bool) -> list[ShardTask]:
    """One task for every shard in which something is missing, changed or to be tried again."""
    by_shard: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_shard[manifests.shard_of(row["source_key"], n_shards)].append(row)
    states: dict[int, ShardState] = ledger.states()
    tasks = []
    for shard in sorted({*by_shard, *states}):
        members = by_shard[shard]  # none, where all of a shard's clips are no longer selected: their files go
        state = states.get(shard)
        failed = frozenset(_failed(ledger, shard)) if retry_failed and state is not None else frozenset()
        if failed or state is None or state.clips_digest != rows_digest(members) or _files_missing(ledger, shard):
            tasks.append(ShardTask(shard, tuple(members), failed))
    return tasks


def _failed(ledger: Ledger, shard: int) -> list[str]:
    return [row["parent_clip_id"] for row in ledger.rows(shard).values() if row["status"] == "failed"]


def _files_missing(ledger: Ledger, shard: int) -> bool:
    """A committed clip's file has gone."""
    names = manifests.read_table(ledger.shard_file(shard), ["video_path", "status"]).to_pylist()
    folder = ledger.out_dir / CLIPS_DIR / f"{shard:05d}"
    there = {file.name for file in folder.glob("*.mp4")}
    return any(row["status"] == "scored" and Path(row["video_path"]).name not in there for row in names)


def _work(chosen: str, tasks: list[ShardTask], spec: WorkerSpec, workers: int, progress: Progress) -> None:
    if chosen == "ray":
        for _, tally in on_ray([task.to_json() for task in tasks], RayShardWorker, (spec,), workers):
            progress.add(tally)
        return
    with ShardWorker(spec) as worker:
        for task in tasks:
            worker.run(task, on_clip=progress.add)


def _merge(ledger: Ledger, shards: set[int], spec: WorkerSpec) -> pa.Table:
    """All rows of the shards as one manifest, with the paths of where OUT lies now; written atomically."""
    table = pa.concat_tables([manifests.read_table(ledger.shard_file(shard)) for shard in sorted(shards)], promote_options="permissive")
    here = Path(spec.out_dir)
    paths = [str(here.joinpath(*Path(path).parts[-3:])) for path in table["video_path"].to_pylist()]
    table = table.set_column(table.schema.get_field_index("video_path"), table.schema.field("video_path"), pa.array(paths, pa.string()))
    manifests.write(table, ledger.manifest_file, spec.run_config, (*COLUMNS, *spec.columns))
    return manifests.read_table(ledger.manifest_file)
