"""Rows on disk are read as an array would be, and nothing of the file stays."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from curation import spool as module
from curation.pieces import Pieces
from curation.spool import Spool
from manifests.errors import UserError


@pytest.mark.parametrize("held", [1, 100, 1 << 20])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_anywhere_is_read_as_from_an_array(monkeypatch, held, seed):
    monkeypatch.setattr(module, "HELD_BYTES", held)
    rng = np.random.default_rng(seed)
    spool, array = Spool(np.float32, (3, 2)), np.zeros((0, 3, 2), np.float32)
    for _ in range(60):
        first, rows = int(rng.integers(0, 40)), rng.normal(size=(int(rng.integers(0, 9)), 3, 2)).astype(np.float32)
        first = len(array) if rng.random() < 0.5 else first
        if len(rows) and first + len(rows) > len(array):
            array = np.concatenate([array, np.zeros((first + len(rows) - len(array), 3, 2), np.float32)])
        array[first : first + len(rows)] = rows
        spool.write(first, rows)
        if rng.random() < 0.2:
            n = int(rng.integers(0, 50))
            array = np.concatenate([array[:n], np.zeros((max(0, n - len(array)), 3, 2), np.float32)])
            spool.resize(n)
        a, b = sorted(rng.integers(0, 50, 2).tolist())
        np.testing.assert_array_equal(spool[a:b], array[a:b])
        np.testing.assert_array_equal(spool[-3:], array[-3:])
    assert spool.shape == array.shape
    np.testing.assert_array_equal(np.asarray(spool), array)
    np.testing.assert_array_equal(np.array(list(spool)).reshape(array.shape), array)
    with pytest.raises(ValueError, match="do not fit"):
        spool.append(np.zeros((2, 2, 3)))


@pytest.mark.parametrize("seed", range(5))
def test_pieces_are_rows_of_their_own(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(50, 3))
    cuts = [(int(rng.integers(0, 40)), int(rng.integers(0, 9))) for _ in range(seed)]
    whole = np.concatenate([rows[:0], *(rows[first : first + n] for first, n in cuts)])
    pieces = Pieces(rows, cuts)
    assert pieces.shape == whole.shape
    np.testing.assert_array_equal(np.asarray(pieces), whole)
    for first in range(len(whole) + 1):
        for last in (*range(first, len(whole) + 2), -1):
            np.testing.assert_array_equal(pieces[first:last], whole[first:last])


def test_the_memory_does_not_grow_with_the_rows():
    spool, rows = Spool(np.int16), np.ones(16_000, np.int16)
    tracemalloc.start()
    try:
        for _ in range(60 * 20):  # sound of 20 minutes: 38 MB
            spool.append(rows)
        assert sum(int(spool[i : i + 16_000].sum()) for i in range(0, len(spool), 16_000)) == len(spool)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * module.HELD_BYTES


_FILLS = """
import sys, time, numpy as np
from curation.spool import Spool
spool = Spool(np.int16)
spool.append(np.ones(4 << 20, np.int16))
spool[:]
print("full", flush=True)
time.sleep(60)
"""


def test_nothing_stays_behind_after_a_kill(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", _FILLS], stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout.readline() == "full\n"
        held = [str(fd.readlink()) for fd in Path(f"/proc/{process.pid}/fd").iterdir() if fd.is_symlink()]
        assert any(str(tmp_path) in name for name in held)  # it does lie there
        process.kill()
    time.sleep(0.1)
    assert not list(tmp_path.iterdir())


def _n_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_spool_that_is_lost_is_closed():
    n_before = _n_open()
    spool = Spool(np.int16)
    spool.append(np.ones(1 << 20, np.int16))
    assert _n_open() == n_before + 1
    del spool
    gc.collect()
    assert _n_open() == n_before


def test_a_temporary_directory_that_cannot_be_written_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="TMPDIR names another"):
        Spool(np.int16).append(np.ones(1 << 20, np.int16))
