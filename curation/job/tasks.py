"""What a run has to do: committed shards against what the source names and what its files are now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import manifests
from curation.config import digest
from curation.contracts import Clip
from curation.job.file_stamps import file_stamps
from curation.job.freshness import Todo, has_other_file, what_to_do
from curation.job.ledger import Ledger, ShardState, clips_digest, row_key
from curation.job.worker import ShardTask
from manifests.errors import UserError


def open_tasks(
    ledger: Ledger,
    states: dict[int, ShardState],
    clips: dict[str, Clip],
    chosen: Mapping[str, Clip],
    n_shards: int,
    wanted_parts: dict[str, str],
    say: Callable[[str], None],
) -> list[ShardTask]:
    """One task for every shard in which something is missing, stale, changed or gone.

    Args:
        clips: all that the source names.
        chosen: those of them that this run looks at.
    """
    stamps = file_stamps(clip.video_path for clip in chosen.values())
    by_shard: dict[int, list[Clip]] = defaultdict(list)
    for clip in chosen.values():
        by_shard[manifests.shard_of(clip.source_key, n_shards)].append(clip)
    wanted_hash = digest(wanted_parts)
    tasks, n_other, n_gone = [], 0, 0
    for shard in sorted({*by_shard, *states}):
        members, state = by_shard.get(shard, []), states.get(shard)
        keys = [row_key(clip.clip_id, stamps[clip.video_path]) for clip in members]
        if state is not None and state.parts == wanted_parts and state.clips_digest == clips_digest(keys):
            continue
        rows = {row["clip_id"]: row for row in ledger.brief_rows(shard)} if state is not None else {}
        shard_hash = digest(state.parts) if state is not None else ""
        known = [(rows[clip.clip_id], stamps[clip.video_path]) for clip in members if clip.clip_id in rows]
        todo = [what_to_do(row, stamp, wanted_hash, shard_hash) for row, stamp in known]
        gone = _gone(row for clip_id, row in rows.items() if clip_id not in clips)
        n_gone += len(gone) + todo.count(Todo.MARK_GONE)
        n_other += sum(has_other_file(row, stamp) for row, stamp in known)
        if gone or len(known) < len(members) or any(step is not Todo.NOTHING for step in todo):
            tasks.append(ShardTask(shard, tuple(members), tuple(stamps[clip.video_path] for clip in members), gone=gone))
    if n_other or n_gone:
        say(f"since they were scored, the files of {n_other} clips have arrived or changed, those of {n_gone} have vanished")
    return _longest_first(tasks)


def retry_tasks(ledger: Ledger, clips: dict[str, Clip], n_shards: int, where: str, say: Callable[[str], None]) -> list[ShardTask]:
    """One task for every shard with committed clips that a pandas query selects; holds these alone."""
    selected, n_rows = _selected(ledger, where)
    named = [clips[clip_id] for clip_id in sorted(selected) if clip_id in clips]
    lost = f"; {len(selected) - len(named)} of them are named by the source no more" if len(named) < len(selected) else ""
    say(f"--where selects {len(selected)} of {n_rows} committed clips{lost}")
    stamps = file_stamps(clip.video_path for clip in named)
    by_shard: dict[int, list[Clip]] = defaultdict(list)
    for clip in named:
        by_shard[manifests.shard_of(clip.source_key, n_shards)].append(clip)
    return _longest_first(
        [
            ShardTask(
                shard, tuple(members), tuple(stamps[clip.video_path] for clip in members), frozenset(clip.clip_id for clip in members)
            )
            for shard, members in sorted(by_shard.items())
        ]
    )


def _gone(rows: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Of rows that the source names no more, those whose file has vanished and that do not say so yet."""
    scored = [row for row in rows if row["status"] == "scored"]
    stamps = file_stamps(row["video_path"] for row in scored)
    return frozenset(row["clip_id"] for row in scored if stamps[row["video_path"]] is None)


def _longest_first(tasks: list[ShardTask]) -> list[ShardTask]:
    """What is left at the end is short (docs/scaling.md)."""
    return sorted(tasks, key=lambda task: -_length_ms(task.clips))


def _length_ms(clips: Collection[Clip]) -> float:
    """How long the clips are by their index; those that run to the end of their file count as ten seconds."""
    return sum(clip.end_ms - clip.start_ms if clip.end_ms is not None else 10_000 for clip in clips)


def _selected(ledger: Ledger, where: str) -> tuple[frozenset[str], int]:
    """Ids of the committed clips that a pandas query selects, and how many are committed."""
    if not ledger.states():
        raise UserError(f"{ledger.out_dir} holds no committed clip to retry")
    df = manifests.load(ledger.out_dir)
    try:
        chosen = df.query(where)
    except Exception as error:  # pandas raises whatever the expression raises
        raise UserError(f"--where {where!r} is no query that pandas understands: {' '.join(str(error).split())}") from None
    return frozenset(chosen["clip_id"]), len(df)
