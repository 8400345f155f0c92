"""What all command lines of the project share: how they speak, and how they end."""

from __future__ import annotations

import sys

import click

from curation.errors import ClipError
from curation.threads import spin_briefly
from manifests.errors import UserError, store_trouble

MISTAKE, INTERRUPTED = 2, 130
# The extra of pyproject.toml that brings what a plain installation lacks, by the name that is imported.
EXTRA_OF = {
    "PIL": "train", "accelerate": "train", "diffusers": "train", "huggingface_hub": "train", "onnx": "train", "tensorboard": "train",
    "torch": "train", "torchvision": "train", "transformers": "train",
    "cdfvd": "eval", "lpips": "eval", "onnxruntime": "cpu", "scipy": "eval", "torch_fidelity": "eval",
    "gradio": "app",
    "numba": "people",
    "s3fs": "s3",
}  # fmt: skip


def say(line: str) -> None:
    """One line to a person, on standard error; standard output is for results."""
    click.echo(line, err=True)


def fail(error: object) -> None:
    """Ends with one line and exit code 2."""
    say(f"error: {' '.join(str(error).split())}")
    sys.exit(MISTAKE)


def run_command(command: click.Command, program: str, arguments: list[str] | None, on_interrupt: str) -> None:
    """Runs a command line; mistakes of the user's end in one line and exit code 2, an interruption with 130.

    Args:
        program: as it is typed, for usage lines.
        arguments: None takes the process's.
        on_interrupt: what to tell a person who pressed Ctrl-C: what stays, and how to go on.
    """
    spin_briefly()
    try:
        command.main(args=arguments, prog_name=program, standalone_mode=False)
    except (UserError, ClipError) as error:
        fail(error)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA_OF:
            raise
        fail(f"this needs {missing}: pip install 'megactor-sigma-open[{EXTRA_OF[missing]}]' (in a checkout: make setup-train)")
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.ctx.get_help() if error.ctx else error.format_message())
        sys.exit(MISTAKE)
    except click.ClickException as error:
        fail(error.format_message())
    except Exception as error:
        if not (line := store_trouble(error)):
            raise
        fail(line)
    except (click.Abort, KeyboardInterrupt):
        say(f"\ninterrupted; {on_interrupt}")
        sys.exit(INTERRUPTED)
