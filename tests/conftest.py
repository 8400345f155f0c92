"""What all tests share: the real corpus, where there is one; what a run that is ended from outside was doing."""

import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.threads import spin_briefly

spin_briefly()  # before any test loads torch

ROOT = Path(__file__).resolve().parent.parent
for name in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(name, None)  # `make test` runs the tests: a make that a test starts is nevertheless none of its children

SCHEDULING = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None


def pytest_configure(config: pytest.Config) -> None:
    """A time limit around the run ends it with SIGTERM: then every thread says where it stands, past the capturing of output."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        error_output = os.dup(sys.__stderr__.fileno())
    faulthandler.register(signal.SIGTERM, file=error_output, all_threads=True, chain=True)


@pytest.fixture(autouse=True)
def _scheduling_is_left_alone() -> Iterator[None]:
    """A library that raises the priority of this process (some encoders do for root) would starve the threads of every later test."""
    yield
    assert SCHEDULING is None or os.sched_getscheduler(0) == SCHEDULING


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The directory of real clips; skips the test where it is absent."""
    for folder in (os.environ.get("MEGACTOR_CORPUS"), ROOT.parent / "shared" / "corpus"):
        if folder and (Path(folder) / "clips.csv").exists():
            return Path(folder)
    pytest.skip("the real corpus is absent: neither $MEGACTOR_CORPUS nor ../shared/corpus holds clips.csv")
