"""Every command line sets how threads wait, before torch is loaded, and leaves a user's own setting alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("own", "seen"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_command_sets_it_before_openmp_is_loaded(own: str | None, seen: str) -> None:
    code = (
        "import os, sys, click\n"
        "from curation.command_line import run_command\n"
        "@click.command()\n"
        "def show():\n"
        "    print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)\n"
        "run_command(show, 'show', [], '')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": own} if own else {}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [seen, "False"]


@pytest.mark.parametrize("package", ["curation", "inference", "inference.evaluation", "training", "training.demo"])
def test_every_command_line_starts_through_it(package: str) -> None:
    code = (
        "import curation.threads, runpy, sys\n"
        "def stop():\n"
        "    print('called', 'torch' in sys.modules)\n"
        "    sys.exit()\n"
        "curation.threads.wait_asleep = stop\n"
        f"sys.argv = ['{package}', '--help']\n"
        f"runpy.run_module('{package}', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["called", "False"], done.stderr
