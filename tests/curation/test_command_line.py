"""How every command line ends: in one line that says what to do, never in a traceback."""

import click
import pytest

from curation.command_line import EXTRA_OF, run_command


def ends(command: click.Command, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_command(command, "program", list(arguments), "nothing is lost")
    return int(ended.value.code or 0)


def command_that_imports(module: str) -> click.Command:
    return click.Command("program", callback=lambda: __import__(module))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    assert ends(click.Command("program", callback=missing)) == 2
    said = capsys.readouterr().err
    assert "pip install 'megactor-sigma-open[train]'" in said
    assert said.count("\n") == 1


def test_a_missing_module_of_nobodys_extra_is_a_fault_of_ours() -> None:
    assert "no_such_module" not in EXTRA_OF
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        run_command(command_that_imports("no_such_module"), "program", [], "nothing is lost")


def test_a_group_without_a_command_shows_its_help_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    group = click.Group("program", commands=[click.Command("grow", help="Make it larger.")])
    assert ends(group) == 2
    said = capsys.readouterr().err
    assert "error" not in said
    assert any(line.split() == ["grow", "Make", "it", "larger."] for line in said.splitlines())
