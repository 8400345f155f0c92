"""Every command line sets how threads wait, before torch is loaded, and leaves a user's own setting alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("own", "seen"), [({}, "20000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")])
def test_a_command_sets_it_before_openmp_is_loaded(own: dict[str, str], seen: str) -> None:
    code = (
        "import os, sys, click\n"
        "from curation.command_line import run_command\n"
        "@click.command()\n"
        "def show():\n"
        "    print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)\n"
        "run_command(show, 'show', [], '')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment | own, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [seen, "False"]


@pytest.mark.parametrize("package", ["curation", "inference", "inference.evaluation", "training", "training.demo"])
def test_every_command_line_starts_through_it(package: str) -> None:
    code = (
        "import curation.threads, runpy, sys\n"
        "def stop():\n"
        "    print('called', 'torch' in sys.modules)\n"
        "    sys.exit()\n"
        "curation.threads.spin_briefly = stop\n"
        f"sys.argv = ['{package}', '--help']\n"
        f"runpy.run_module('{package}', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["called", "False"], done.stderr
