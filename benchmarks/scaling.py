"""`python -m benchmarks.scaling`: where efficiency is lost with 1 to 1,000 workers, before and after what docs/scaling.md changed.

`--run OUT` checks the simulation against a finished run on this machine: its clips' own stage times, replayed on as many workers, beside
when its shards were committed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import manifests
from curation.job.ledger import Ledger
from curation.scaling.simulation import Fleet, clip_lengths_s, shards_of, simulate

MISFORTUNE = {
    "start_s": 30.0,
    "straggler_share": 0.02,
    "straggler_slowdown": 3.0,
    "mean_time_between_failures_s": 24 * 3600.0,
    "restart_s": 60.0,
}


def table(hours: float, speed: float) -> None:
    """4,670 h by default, at `speed` times real time a worker; each figure from seed 0."""
    lengths_s = clip_lengths_s(hours)
    print(f"{len(lengths_s)} clips, {hours:.0f} h, {speed:g} x real time a worker; {MISFORTUNE}")
    heads = f"{'workers':>7} {'clips/shard':>11} {'order':>14} {'in flight':>9} {'efficiency':>10}"
    print(f"{heads} {'idle':>6} {'lost':>6} {'slow':>6} {'hours':>8}")
    for workers in (1, 10, 100, 1000):
        for size in (128, 32):
            for longest_first, in_flight in ((False, 2), (True, 2), (False, 1), (True, 1)):
                shards_s = shards_of(lengths_s / speed, max(1, len(lengths_s) // size), longest_first=longest_first)
                got = simulate(shards_s, Fleet(workers, in_flight=in_flight, **MISFORTUNE))
                order = "longest first" if longest_first else "by hash"
                print(
                    f"{workers:7} {size:11} {order:>14} {in_flight:9} {got.useful:10.1%} {got.idle:6.1%} {got.lost:6.2%} {got.slow:6.1%}"
                    f" {got.makespan_s / 3600:8.2f}",
                    flush=True,
                )


def against_run(out: str, workers: int) -> None:
    """Time from the first commit to the last: simulated from the clips' stage times, beside when the shards' files were written.

    The run must have been made in one session. Start-up is left out on both sides; scorers that no stage column counts are in the second.
    """
    ledger = Ledger(out)
    run = ledger.read_run()
    costs: dict[int, float] = defaultdict(float)
    lengths: dict[int, float] = defaultdict(float)
    for row in manifests.read_table(out).to_pylist():
        shard = manifests.shard_of(row["source_key"], run["n_shards"])
        costs[shard] += sum(row[name] or 0.0 for name in ("decode_ms", "landmarks_ms", "sync_ms")) / 1000
        lengths[shard] += row["end_ms"] - row["start_ms"] if row["end_ms"] else 10_000
    order = sorted(sorted(costs), key=lambda shard: -lengths[shard])  # as the job hands them out
    simulated = simulate([costs[shard] for shard in order], Fleet(workers))
    written_s = [file.stat().st_mtime for file in ledger.shard_files()]
    span_s = max(written_s) - min(written_s)
    print(
        f"{len(costs)} shards on {workers} workers, first to last commit: simulated {simulated.makespan_s - simulated.first_s:.1f} s,"
        f" measured {span_s:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=4670)
    parser.add_argument("--speed", type=float, default=2.0, help="times real time, of a worker")
    parser.add_argument("--run", help="a finished run's directory")
    parser.add_argument("--workers", type=int, default=1, help="of that run")
    chosen = parser.parse_args()
    if chosen.run:
        against_run(chosen.run, chosen.workers)
    else:
        table(chosen.hours, chosen.speed)


if __name__ == "__main__":
    main()
