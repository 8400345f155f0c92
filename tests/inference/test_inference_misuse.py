"""What newcomers give to `animate`: one line that says what to do."""

from types import SimpleNamespace

import pytest

from inference.cli import _check_sources
from inference.pipeline.folder import find_folder
from manifests.errors import UserError


def test_a_url_as_driver_is_called_one(tmp_path):
    request = SimpleNamespace(reference=None, driving="https://host/you.mp4", audio=None, out=str(tmp_path / "out.mp4"))
    with pytest.raises(UserError, match="is a URL: download it first, --driving takes a local file"):
        _check_sources(request)


@pytest.mark.parametrize("name", ["runs/s3", "outputs/model", "./model", "mine/s3"])
def test_a_folder_that_is_missing_is_not_looked_up_on_the_hub(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match=f"no model at {name}"):
        find_folder(name)
