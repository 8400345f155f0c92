"""Two ways to run shards: in this process, or on Ray Data, here or on a cluster. Both give the same rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from curation.contracts import Clip
from curation.job.gpus import NO_GPU, GpuDemand
from curation.job.tally import Tally
from curation.job.worker import ShardTask, ShardWorker, WorkerSpec
from manifests import UserError

# A second task waits at a worker while the first runs, so that short ones leave no gap between them; behind a straggler it would wait long,
# so tasks of many clips come one at a time (docs/scaling.md).
LONG_TASK_CLIPS = 32
# Of a worker's core: a little is left so that Ray Data's own tasks always find a free slot, on one CPU too.
ACTOR_CPU_SHARE = 0.9


def run_inprocess(
    tasks: Sequence[ShardTask],
    spec: WorkerSpec,
    on_tally: Callable[[Tally], None],
    on_moment: Callable[[Clip, float, float], None] | None = None,
) -> None:
    """Run every task in this process, one after the other; `on_moment` hears how far the clip in hand is."""
    with ShardWorker(spec, on_moment) as worker:
        for task in tasks:
            worker.run(task, on_clip=on_tally)


def run_ray(tasks: Sequence[ShardTask], spec: WorkerSpec, on_tally: Callable[[Tally], None]) -> None:
    """Run every task on a Ray Data actor pool, which replaces a dead worker and runs its shard again, as often as it takes."""
    waiting = 1 if sum(len(task.clips) for task in tasks) >= LONG_TASK_CLIPS * len(tasks) else 2
    texts = [task.to_json() for task in tasks]
    for _, tally in on_ray(texts, _RayWorker, (spec,), spec.config.workers, GpuDemand.of(spec.config), waiting):
        on_tally(tally)


class TaskActor(Protocol):
    """What works on a Ray worker: given a task, as text, it does it and tells how much that was."""

    def __call__(self, task: str) -> Tally: ...


def on_ray(
    tasks: Sequence[str],
    actor: Callable[..., TaskActor],
    arguments: tuple[Any, ...],
    workers: int,
    gpu: GpuDemand = NO_GPU,
    in_flight: int = 2,
) -> Iterator[tuple[str, Tally]]:
    """Hand `tasks`, as text, one by one to a pool of `actor(*arguments)`; yields each task when it is done, with its tally.

    Args:
        workers: actors; 0 = one a core of the cluster, and no more than its GPUs hold.
        gpu: what an actor needs of a GPU.
        in_flight: tasks at an actor at once, the running one included.

    Raises:
        UserError: an actor said so, or the cluster lacks the GPUs.
    """
    import ray
    import ray.data

    with _cluster(ray, workers) as n_cpus:
        share = gpu.resolve(ray)
        fitting = int(ray.cluster_resources().get("GPU", 0)) * int(1 / share) if share else len(tasks)
        workers = min(workers or max(1, int(n_cpus)), max(1, fitting), len(tasks))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.enable_operator_progress_bars = False
        context.print_on_execution_start = False
        # One row a block, built by the driver: no read tasks that could starve behind the actors.
        data = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=len(tasks))
        done = data.map_batches(
            _Candid,
            fn_constructor_args=(actor, arguments),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=in_flight),
            num_cpus=ACTOR_CPU_SHARE * min(1.0, n_cpus / workers),
            num_gpus=share or None,
        )
        for row in done.iter_rows():
            if row["mistake"]:
                raise UserError(row["mistake"])
            yield row["task"], Tally(**{name: row[name] for name in asdict(Tally())})


class _Candid:
    """What Ray Data maps over blocks: hands each task to the actor, and turns its tallies into columns.

    A mistake of the user's is told in a column too. As an exception, it would reach the driver as a page of Ray's own text.
    """

    def __init__(self, actor: Callable[..., TaskActor], arguments: tuple[Any, ...]):
        self._mistake = ""
        try:
            self._actor = actor(*arguments)
        except UserError as error:
            self._mistake = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        tasks = [str(task) for task in batch["task"]]
        tallies = [self._done(task) for task in tasks]
        columns = {name: [asdict(tally)[name] for tally in tallies] for name in asdict(Tally())}
        return {"task": tasks, **columns, "mistake": [self._mistake] * len(tasks)}

    def _done(self, task: str) -> Tally:
        if not self._mistake:
            try:
                return self._actor(task)
            except UserError as error:
                self._mistake = str(error)
        return Tally()


class _RayWorker:
    """A `ShardWorker` on Ray: a task is one shard."""

    def __init__(self, spec: WorkerSpec):
        self._worker = ShardWorker(spec)

    def __call__(self, task: str) -> Tally:
        return self._worker.run(ShardTask.from_json(task))


class _cluster:  # noqa: N801 - a context manager
    """Connects to the cluster that RAY_ADDRESS names, or starts one on this machine; gives its number of CPUs."""

    def __init__(self, ray: Any, workers: int):
        self._ray, self._workers, self._own = ray, workers, False

    def __enter__(self) -> float:
        import logging

        ray = self._ray
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS")
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of restartable actors, which is what we want
            quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
            try:
                if address:
                    ray.init(address=address, **quiet)
                else:
                    ray.init(num_cpus=max(self._workers, 1) if self._workers else None, include_dashboard=False, **quiet)
            except Exception as error:  # Ray raises bare ones too, where a node starts too slowly
                what = f"reach Ray at RAY_ADDRESS={address}" if address else "start Ray here"
                raise UserError(f"cannot {what}: {error}; --set job.executor=inprocess runs without it") from None
            self._own = True
        return ray.cluster_resources().get("CPU", 1.0)

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._ray.shutdown()


def choose(executor: str, workers: int, n_clips: int, ray_from_clips: int) -> str:
    """`inprocess` or `ray`, resolving `auto`: Ray where somebody asks for several workers, or where several cores have much to do."""
    if executor != "auto":
        return executor
    if os.environ.get("RAY_ADDRESS"):
        return "ray"
    enough = 2 if workers > 1 else ray_from_clips
    return "ray" if (workers or os.cpu_count() or 1) > 1 and n_clips >= enough else "inprocess"
