"""How the command lines of the project speak, and how they end: a user's mistake is one line, exit code 2, no traceback."""

from __future__ import annotations

import math
import sys
from typing import Any

import click

from manifests.errors import UserError, store_trouble

MISTAKE, INTERRUPTED = 2, 130
MOST_CHARACTERS = 1000  # of a mistake's line: a value of a stranger's file may have thousands


def say(line: str) -> None:
    """One line to a person, on standard error; standard output is for results."""
    click.echo(line, err=True)


def fail(error: object) -> None:
    """Ends with one line and exit code 2; of a long line the middle is left out."""
    line = " ".join(str(error).split())
    if len(line) > MOST_CHARACTERS:
        line = f"{line[: MOST_CHARACTERS // 2]} ... {line[-MOST_CHARACTERS // 2 :]}"
    say(f"error: {line}")
    sys.exit(MISTAKE)


def run_command(
    command: click.Command,
    program: str,
    arguments: list[str] | None,
    on_interrupt: str,
    mistakes: tuple[type[Exception], ...] = (UserError,),
) -> None:
    """Runs a command line; mistakes of the user's end in one line and exit code 2, an interruption with 130.

    Args:
        program: as it is typed, for usage lines.
        arguments: None takes the process's.
        on_interrupt: what to tell a person who pressed Ctrl-C: what stays, and how to go on.
        mistakes: errors whose text is for a person.
    """
    try:
        command.main(args=arguments, prog_name=program, standalone_mode=False)
    except mistakes as error:
        fail(error)
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.ctx.get_help() if error.ctx else error.format_message())
        sys.exit(MISTAKE)
    except click.UsageError as error:
        fail(f"{error.format_message()}{f' ({error.ctx.command_path} --help)' if error.ctx else ''}")
    except click.ClickException as error:
        fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        say(f"\ninterrupted; {on_interrupt}")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not (line := store_trouble(error)):
            raise
        fail(line)


class LocalPath(click.Path):
    """A path on this machine; a URL would make a folder called `s3:`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" in str(value) and not str(value).startswith("file://"):
            self.fail(f"{value} is a URL, and this has to lie on this machine's disk.", param, ctx)
        if "\0" in str(value):
            self.fail("no file's name holds a NUL.", param, ctx)
        return super().convert(str(value).removeprefix("file://"), param, ctx)


class FiniteRange(click.FloatRange):
    """A number within bounds; `nan` is within none, and `inf` is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


class OneLineGroup(click.Group):
    """A group whose mistakes end in one line, called as a function too."""

    def main(self, args: Any = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        return run_command(self, prog_name or f"python -m {self.name}", args, "nothing half-written is left")
