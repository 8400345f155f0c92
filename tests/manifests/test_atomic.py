"""Files and folders exist whole or not at all, and are on the disk before they have their name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.atomic import atomic_path, check_place, flush_tree, put, replace_folder
from manifests.errors import UserError
from manifests.leftovers import sweep, temporary_name
from manifests.version import code_version


def test_put_leaves_the_old_file_when_it_fails(tmp_path):
    file = tmp_path / "x"
    put(file, b"old")
    with pytest.raises(TypeError):
        put(file, "text is no bytes")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="you may not write into"):
        check_place(tmp_path / "x")
    tmp_path.chmod(0o755)
    check_place(tmp_path / "x")


@pytest.fixture
def events(monkeypatch):
    """What went to the disk and what was renamed, in order, by name."""
    seen = []
    real = {"fsync": os.fsync, "replace": os.replace, "rename": os.rename}

    def fsync(descriptor):
        seen.append(("flushed", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        real["fsync"](descriptor)

    def moved(kind):
        def move(source, target, **options):
            seen.append(("named", str(target).rsplit("/", 1)[-1]))
            real[kind](source, target, **options)

        return move

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", moved("replace"))
    monkeypatch.setattr(os, "rename", moved("rename"))
    return seen


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_after(tmp_path, events):
    with atomic_path(tmp_path / "x") as temporary:
        temporary.write_bytes(b"new")
    assert [kind for kind, _ in events] == ["flushed", "named", "flushed"]
    assert events[1:] == [("named", "x"), ("flushed", tmp_path.name)]


def test_all_of_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, events):
    with replace_folder(tmp_path / "model", "config.json") as folder:
        (folder / "part").mkdir()
        for name in ("config.json", "part/weights"):
            (folder / name).write_bytes(b"1")
    named = events.index(("named", "model"))
    assert {name for _, name in events[:named]} == {"config.json", "weights", "part", "new"}
    assert events[named + 1 :] == [("flushed", tmp_path.name)]


def test_flush_tree_reaches_every_file(tmp_path, events):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").touch()
    flush_tree(tmp_path / "a")
    assert sorted(events) == [("flushed", "a"), ("flushed", "b"), ("flushed", "c")]


def test_the_version_names_the_commit_of_a_checkout():
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        pytest.skip("not a checkout")
    version, _, commit = code_version().partition("+")
    assert version[:1].isdigit()
    assert head.stdout.startswith(commit)
    assert len(commit) == 12


def test_files_get_the_umasks_mode(tmp_path) -> None:
    """safetensors writes 0600 of itself."""
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.touch()
    with atomic_path(ours) as temporary:
        temporary.touch(mode=0o600)
    with replace_folder(tmp_path / "folder", "within") as folder:
        (folder / "within").touch(mode=0o600)
    assert ours.stat().st_mode == (tmp_path / "folder" / "within").stat().st_mode == plain.stat().st_mode
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "ours", "plain"]


def killed_pid() -> int:
    """Of a process that ran."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path) -> None:
    dead, mine = killed_pid(), temporary_name("a.mp4")
    gone = mine.replace(f".{os.getpid()}.", f".{dead}.")
    host = mine.split(".")[-4]
    (tmp_path / gone).write_bytes(b"half a file")
    (tmp_path / gone.replace("a.mp4", "folder")).mkdir()
    (tmp_path / gone.replace("a.mp4", "folder") / "000000.png").write_bytes(b"half a file")
    kept = [
        mine,  # being written
        gone.replace(f".{host}.", ".0badcafe."),  # of another machine in a shared folder
        gone.removesuffix(".tmp"),
        gone + ".mp4",
        f".a.mp4.{dead}.tmp",
        "a.mp4",
        ".tmp",
    ]
    for name in kept:
        (tmp_path / name).write_bytes(b"somebody's")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    sweep(tmp_path / "absent")


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path) -> None:
    for name in ("x" * 250, "\u4eba" * 80 + ".mp4"):
        put(tmp_path / name, b"1")
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()
