"""`python -m benchmarks.scaling`: where efficiency is lost with 1 to 1,000 workers, before and after what docs/scaling.md changed.

`--run OUT` checks the simulation against a finished run: its clips' own stage times, replayed on as many workers, beside the time it took.
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
    """The simulated makespan of a run's shards, from its clips' stage times, beside what its last session took."""
    run = Ledger(out).read_run()
    costs: dict[int, float] = defaultdict(float)
    for row in manifests.read_table(out).to_pylist():
        spent_ms = sum(row[name] or 0.0 for name in ("decode_ms", "landmarks_ms", "sync_ms"))
        costs[manifests.shard_of(row["source_key"], run["n_shards"])] += spent_ms / 1000
    simulated = simulate(list(costs.values()), Fleet(workers))
    measured_s = run["last_session"]["elapsed_s"]
    print(f"{len(costs)} shards on {workers} workers: simulated {simulated.makespan_s:.1f} s, measured {measured_s:.1f} s")
    print("measured holds besides: start-up of the workers, and scorers that no stage column counts")


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
