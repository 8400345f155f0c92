"""A discrete-event simulation of a run: workers that pull shards, fall behind, die and come back."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fleet:
    """The workers and their misfortunes.

    Attributes:
        workers: how many.
        start_s: from the run's start (or a restart) until a worker takes its first shard: processes, networks.
        straggler_share, straggler_slowdown: this share of the workers is slower by this factor, for the whole run.
        mean_time_between_failures_s: of one worker, exponential; inf = none die. The shard in hand is lost.
        restart_s: from a death until the replacement takes a shard.
        in_flight: shards that are handed to a worker ahead, the one in hand included; those behind a straggler wait for it.
    """

    workers: int
    start_s: float = 0.0
    straggler_share: float = 0.0
    straggler_slowdown: float = 1.0
    mean_time_between_failures_s: float = float("inf")
    restart_s: float = 0.0
    in_flight: int = 1


@dataclass(frozen=True)
class Outcome:
    """Where the workers' time went; the shares of `workers x makespan_s` add up to 1.

    Attributes:
        makespan_s: from the start to the last commit.
        first_s: from the start to the first commit.
        useful: work that was committed, at a normal worker's speed. This is the efficiency.
        slow: what stragglers took longer.
        lost: work on shards that died with their worker.
        down: starting and restarting.
        idle: waiting with nothing left to take (the tail).
        n_failures: workers that died.
    """

    makespan_s: float
    first_s: float
    useful: float
    slow: float
    lost: float
    down: float
    idle: float
    n_failures: int


def simulate(shards_s: Sequence[float], fleet: Fleet, seed: int = 0) -> Outcome:
    """Run shards of these durations (seconds on a normal worker), handed out in the order given."""
    rng = np.random.default_rng(seed)
    slowdown = np.where(np.arange(fleet.workers) < round(fleet.straggler_share * fleet.workers), fleet.straggler_slowdown, 1.0)
    rng.shuffle(slowdown)
    waiting: deque[int] = deque(range(len(shards_s)))
    ahead: list[deque[int]] = [deque() for _ in range(fleet.workers)]
    for _ in range(fleet.in_flight - 1):  # handed out at the start, before any worker is ready
        for queue in ahead:
            if waiting:
                queue.append(waiting.popleft())
    ready = [(fleet.start_s, worker) for worker in range(fleet.workers)]
    sleeping: list[int] = []
    heapq.heapify(ready)
    lost_s = slow_s = down_s = end_s = 0.0
    first_s = float("inf")
    down_s += fleet.start_s * fleet.workers
    n_failures = n_done = 0
    while n_done < len(shards_s) and ready:
        now_s, worker = heapq.heappop(ready)
        if worker < 0:  # a shard comes back from a dead worker: wake one that has nothing to do
            if sleeping and waiting:
                heapq.heappush(ready, (now_s, sleeping.pop()))
            continue
        if waiting:
            ahead[worker].append(waiting.popleft())
        if not ahead[worker]:
            sleeping.append(worker)
            continue
        shard = ahead[worker].popleft()
        takes_s = shards_s[shard] * slowdown[worker]
        dies_after_s = rng.exponential(fleet.mean_time_between_failures_s) if np.isfinite(fleet.mean_time_between_failures_s) else np.inf
        if dies_after_s < takes_s:
            n_failures += 1
            lost_s, down_s = lost_s + dies_after_s, down_s + fleet.restart_s
            died_s = now_s + dies_after_s
            waiting.extendleft([*reversed(ahead[worker]), shard])
            ahead[worker].clear()
            heapq.heappush(ready, (died_s + fleet.restart_s, worker))
            heapq.heappush(ready, (died_s, -1))
            continue
        slow_s += takes_s - shards_s[shard]
        n_done += 1
        first_s, end_s = min(first_s, now_s + takes_s), max(end_s, now_s + takes_s)
        heapq.heappush(ready, (now_s + takes_s, worker))
    capacity_s = fleet.workers * end_s
    useful, slow, lost, down = (float(part / capacity_s) for part in (sum(shards_s), slow_s, lost_s, down_s))
    return Outcome(float(end_s), float(first_s), useful, slow, lost, down, 1 - useful - slow - lost - down, n_failures)


def clip_lengths_s(hours: float, seed: int = 0, median_s: float = 8.0, sigma: float = 0.9) -> np.ndarray:
    """Log-normal clip lengths that add up to about `hours`. sigma = 0.9: the longest of a thousand is 16 times the median."""
    rng = np.random.default_rng(seed)
    mean_s = median_s * np.exp(sigma**2 / 2)
    return rng.lognormal(np.log(median_s), sigma, max(1, round(hours * 3600 / mean_s)))


def shards_of(costs_s: np.ndarray, n_shards: int, *, longest_first: bool, seed: int = 0) -> np.ndarray:
    """Durations of shards that clips fall into by a hash, in the order in which the job hands them out."""
    found = np.bincount(np.random.default_rng(seed).integers(0, n_shards, len(costs_s)), weights=costs_s, minlength=n_shards)
    found = found[found > 0]
    return np.sort(found)[::-1] if longest_first else found
