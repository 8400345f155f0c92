"""Which version of this package made something: stamped on manifests, runs and checkpoints."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTION = "megactor-sigma-open"
_GIT_TIMEOUT_S = 5.0  # a checkout on a network disk that does not answer must not hold up a run


def code_version() -> str:
    """The package's version, such as `0.1.0`; with the commit, `0.1.0+1a2b3c4d5e6f`, where it runs from a checkout."""
    try:
        text = version(DISTRIBUTION)
    except PackageNotFoundError:
        text = "0"
    top = Path(__file__).resolve().parents[1]
    if not (top / ".git").exists():
        return text
    try:
        found = subprocess.run(
            ["git", "-C", str(top), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return text
    return f"{text}+{found.stdout.strip()}" if found.returncode == 0 else text
