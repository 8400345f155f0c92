"""What all tests share: the real corpus, where there is one."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The directory of real clips; skips the test where it is absent."""
    for folder in (os.environ.get("MEGACTOR_CORPUS"), ROOT.parent / "shared" / "corpus"):
        if folder and (Path(folder) / "clips.csv").exists():
            return Path(folder)
    pytest.skip("the real corpus is absent: neither $MEGACTOR_CORPUS nor ../shared/corpus holds clips.csv")
