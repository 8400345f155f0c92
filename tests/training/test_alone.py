"""One training a folder, and what is said at its start."""

from types import SimpleNamespace

import pytest

from manifests.errors import UserError
from training.loop.progress import Progress
from training.run import _alone

MAIN, OTHER = SimpleNamespace(is_main_process=True), SimpleNamespace(is_main_process=False)


def test_a_second_training_in_the_same_folder_is_refused(tmp_path):
    with _alone(tmp_path / "s1", MAIN):
        with pytest.raises(UserError, match="another run is writing to"), _alone(tmp_path / "s1", MAIN):
            pass
        with _alone(tmp_path / "s1", OTHER), _alone(tmp_path / "s2", MAIN):
            pass
    with _alone(tmp_path / "s1", MAIN):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot make"), _alone(tmp_path / "file", MAIN):
        pass


def test_the_first_step_of_a_start_has_a_line_with_an_estimate():
    said: list[str] = []
    progress = Progress(100, said.append)
    progress.tick(41, 2.0)
    progress.tick(42, 2.0)
    assert said == ["step 41/100 took 2 s; the rest takes about 1 min 58 s, less once all is warm"]
