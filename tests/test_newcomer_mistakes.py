"""What newcomers type, command line by command line: one line that says what to do, exit code 2, and nothing written."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from curation.job.lock import hold
from manifests import UserError
from manifests.errors import store_trouble
from manifests.places import place

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    "curation": "curation.cli",
    "manifests": "manifests.__main__",
    "training": "training.cli",
    "training.demo": "training.demo.run",
    "inference": "inference.cli",
    "inference.models": "inference.models.__main__",
    "inference.evaluation": "inference.evaluation.cli",
    "curation.lipsync.evaluate": "curation.lipsync.evaluate",
}


def code_of(program: str, words: list[str]) -> int:
    """The exit code of `python -m program words`, run in this process."""
    main = importlib.import_module(MODULES[program]).main
    try:
        code = main(words)
    except SystemExit as ended:
        code = ended.code
    return int(code or 0)


MISTAKES = [
    # B1: a source that was forgotten, or a variable that is not set
    ("curation", "run --root '' --out out", "ROOT is empty"),
    ("curation", "run --root ' ' --out out", "ROOT is empty"),
    ("curation", "run --source '' --root mine --out out", "SOURCE is empty"),
    ("curation", "plan --root ''", "ROOT is empty"),
    ("curation", "run mine", "unexpected extra argument (mine) (python -m curation run --help)"),
    ("curation", "people --out mine --count 1", "holds other files"),
    ("curation", "run --source people --root mine --out out", "holds other files"),
    # B2, B3: presets and retries
    ("manifests", "apply none --preset papr", "nothing there"),
    ("manifests", "apply none", "Missing option '--preset'"),
    ("curation", "retry none --where True", "holds no run"),
    ("curation", "retry mine", "Missing option '--where'"),
    # B4: what is no manifest
    ("manifests", "summary mine", "no manifest in mine"),
    ("manifests", "summary mine/a.mp4", "is not a whole Parquet file"),
    ("training", "--manifest mine --out out", "no manifest in mine"),
    ("training", "cache-latents --manifest mine/a.mp4 --out out", "is not a whole Parquet file"),
    # B5: runs
    ("training", "report mine", "holds no training run"),
    ("training", "--stage 2 --manifest none --out out", "stage 2 continues a run of stage 1"),
    ("training", "adapt --reference none.png --out out", "the file is not there"),
    # B6: clouds, and numbers beyond all numbers
    ("curation", "run --root s3:// --out out", "names no bucket"),
    ("curation", "run --root s3:/bucket/videos --out out", "a URL has two slashes: s3://bucket/videos"),
    ("curation", "run --root gopher://x/videos --out out", "cannot open gopher://x/videos"),
    ("curation", "run --root ftp://127.0.0.1:9/videos --out out", "no connection to another machine"),
    ("curation", "samples --out s3://bucket/samples", "is a URL, and this has to lie on this machine's disk"),
    ("curation", "people --out gs://bucket/people", "is a URL, and"),
    ("curation", "explain out abc --picture az://bucket/x.png", "is a URL, and"),
    ("curation", "train-lipsync mine --out s3://bucket/x", "is a URL, and"),
    ("training", "--out s3://bucket/run", "is a URL, and"),
    ("training", "cache-latents --out s3://bucket/run", "is a URL, and"),
    ("training", "augment --kind swap --out s3://bucket/run", "is a URL, and"),
    ("training", "report s3://bucket/run", "is a URL, and"),
    ("training", "adapt --reference https://host/me.png", "is a URL, and"),
    ("training", "weights --out s3://bucket/x", "is a URL, and"),
    ("training.demo", "--out s3://bucket/x", "is a URL, and"),
    ("inference", "animate -r mine/a.mp4 -d mine/a.mp4 -o s3://bucket/out.mp4", "is a URL, and"),
    ("inference", "animate -r gs://bucket/me.png -d mine/a.mp4", "gs://bucket/me.png is a URL: download it first"),
    ("inference", "animate -r mine/a.mp4 -a https://host/speech.wav", "is a URL: download it first"),
    ("inference", "batch s3://bucket/pairs.jsonl --out out", "is a URL, and"),
    ("inference", "batch mine/a.mp4 --out hf://bucket/out", "is a URL, and"),
    ("inference.evaluation", "run s3://bucket/pred --real mine", "is a URL, and"),
    ("inference.evaluation", "run mine --real s3://bucket/real", "is a URL, and"),
    ("inference", "animate -r mine/a.mp4 -d mine/a.mp4 --seed 99999999999999999999999", "must lie in 0…2^63"),
    ("inference", "animate -r mine/a.mp4 -d mine/a.mp4 --steps 99999999999999999999999", "must lie in 1…1000"),
    ("inference", "animate -r mine/a.mp4 -d mine/a.mp4 --steps 1e3", "'1e3' is not a valid integer"),
    ("curation", "run --root mine --out out --limit -1", "-1 is not in the range"),
    ("curation", "run --root mine --out out --limit 1e3", "'1e3' is not a valid integer"),
    ("curation", "run --root mine --out out --limit 0x10", "'0x10' is not a valid integer"),
    ("curation", "run --root mine --out out --limit nan", "'nan' is not a valid integer"),
    ("curation", "plan --root mine --measure 0", "0 is not in the range"),
    ("curation", "plan --root mine --hours nan", "'nan' is no finite number"),
    ("training", "plan --dollars-per-hour inf", "'inf' is no finite number"),
    ("training", "--set steps=1e3", "steps needs int"),
    ("training", "--set steps=-1", "steps"),
    ("inference.models", "summary --config paper --frames 99999999999999999999", "is not in the range"),
    # B7: workers
    ("curation", "run --root mine --out out --set workers=-1", "workers needs 0 or more"),
    ("curation", "run --root mine --out out --set workers=two", "workers needs int"),
    ("curation", "run --root mine --out out --set workers", "--set needs key=value"),
    # B8: one parser, one way to end
    ("inference.models", "summary --config embeded", "did you mean 'embedded'?"),
    ("inference.models", "summary", "Missing option '--config'"),
    ("inference.models", "summary --config paper --size-px 100", "it must be a multiple of"),
    ("inference.models", "sumary --config paper", "No such command 'sumary'"),
    ("manifests", "presets papr", "unexpected extra argument"),
    ("manifests", "diff one", "Missing argument 'AFTER'"),
    ("manifests", "summary one --wrong", "No such option '--wrong'"),
    ("manifests", "sumary one", "No such command 'sumary'"),
    ("curation.lipsync.evaluate", "none", "nothing there"),
    ("curation.lipsync.evaluate", "", "Missing argument 'MANIFEST'"),
    ("training", "plan --gpu h1000", "is not known"),
    ("inference.evaluation", "table none", "holds no evaluation"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a folder of somebody's own."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.mp4").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("program", "typed", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(folder, capfd, program: str, typed: str, message: str) -> None:
    import shlex

    assert code_of(program, shlex.split(typed)) == 2
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.strip()]
    assert lines[-1].startswith("error: ")
    assert message in lines[-1]
    assert not any("Traceback" in line or "Usage:" in line for line in lines)
    assert len(lines) == 1
    assert not out
    assert [path.name for path in (folder / "mine").iterdir()] == ["a.mp4"]
    assert not [path.name for path in folder.iterdir() if ":" in path.name]


def test_every_command_that_writes_a_local_file_says_so_of_a_url() -> None:
    """All `--out`s that are not handed to what fsspec can write."""
    far = {("curation", "run"), ("curation", "materialise"), ("curation", "table1"), ("curation", "duplicates"), ("manifests", "apply")}
    for program in ("curation", "training", "inference", "inference.evaluation", "manifests"):
        module = importlib.import_module(MODULES[program])
        group = module.main if program == "manifests" else module.cli
        for name, command in group.commands.items():
            for option in command.params:
                if (
                    isinstance(option, click.Option)
                    and option.name == "out"
                    and (program, name) not in far
                    and (program, name) != ("training", "doctor")
                ):
                    assert type(option.type).__name__ == "LocalPath", (program, name)


def test_a_path_as_a_url_of_this_machine_is_a_path(folder) -> None:
    from manifests.command_line import LocalPath

    command = click.Command("c", params=[click.Option(["--out"], type=LocalPath())], callback=lambda out: click.echo(out))
    assert CliRunner().invoke(command, ["--out", f"file://{folder}/x"]).output == f"{folder}/x\n"
    assert CliRunner().invoke(command, ["--out", "C:/x"]).output == "C:/x\n"


def test_places_that_look_like_urls_and_are_none(folder) -> None:
    (folder / "s3:").mkdir()
    assert place("s3:/") == Path("s3:/")
    assert place("C:/videos") == Path("C:/videos")
    with pytest.raises(UserError, match="two slashes: gs://b/x"):
        place(Path("gs://b/x"))


def test_troubles_of_other_machines_are_lines_and_faults_of_ours_are_not() -> None:
    def raised(module: str) -> Exception:
        return type("FarError", (Exception,), {"__module__": module})("far away")

    for module in ("httpx.errors", "httpcore", "requests.exceptions", "paramiko.ssh_exception", "gcsfs.retry", "azure.core", "ftplib"):
        assert store_trouble(raised(module)).startswith("cannot use the object store: far away"), module
    deep = ValueError("of ours")
    deep.__cause__ = OSError("between")
    deep.__cause__.__cause__ = raised("aiohttp.client")
    assert store_trouble(deep)
    assert store_trouble(ConnectionRefusedError(111, "Connection refused")).startswith("no connection to another machine: ")
    for ours in (BrokenPipeError(), KeyError("x"), FileNotFoundError("x"), RuntimeError("x")):
        assert store_trouble(ours) == ""


# --- one at a time in one folder (B5) ------------------------------------------------------------------------------------------------


def _evaluates(folder: Path, out: Path) -> None:
    from inference.evaluation.benchmark import pairs_of_folder
    from inference.evaluation.judge import Settings
    from inference.evaluation.run import evaluate

    evaluate([], pairs_of_folder(folder / "mine"), out, Settings())


def _animates_a_batch(folder: Path, out: Path) -> None:
    from inference.studio.batch import run_batch
    from inference.studio.loading import LoadOptions

    video = str(folder / "mine" / "a.mp4")
    (folder / "pairs.jsonl").write_text(json.dumps({"reference": video, "driving": video}) + "\n")
    run_batch(folder / "pairs.jsonl", out, LoadOptions(), {})


def _renders_people(folder: Path, out: Path) -> None:
    from curation.people.job import render_people
    from curation.people.settings import PeopleSettings

    render_people(out, PeopleSettings(count=1), say=lambda line: None)


def _adapts(folder: Path, out: Path) -> None:
    from training.adapt import adapt

    adapt(str(ROOT / "inference" / "studio" / "examples" / "portrait_1.jpg"), str(out), say=lambda line: None)


def _makes_weights(folder: Path, out: Path) -> None:
    from training.weights import make_weights

    make_weights(str(out), 10, say=lambda line: None)


def _learns_lip_sync(folder: Path, out: Path) -> None:
    from curation.lipsync.train import train_lipsync

    train_lipsync(folder / "mine", out)


def _trains(folder: Path, out: Path) -> None:
    from training.run import _alone

    with _alone(out, SimpleNamespace(is_main_process=True)):
        pass


@pytest.mark.parametrize(
    "job",
    [_evaluates, _animates_a_batch, _renders_people, _adapts, _makes_weights, _learns_lip_sync, _trains],
    ids=lambda job: job.__name__,
)
def test_a_second_job_in_the_same_folder_is_refused(folder: Path, job: Callable[[Path, Path], None]) -> None:
    pytest.importorskip("torch")
    out = folder / "out"
    with hold(out):
        with pytest.raises(UserError, match="another run is writing to"):
            job(folder, out)
        assert [path.name for path in out.rglob("*") if path.is_file()] == [".lock"]


def test_a_second_demonstration_in_the_same_folder_is_refused(folder: Path, capfd) -> None:
    with hold(folder / "out"):
        assert code_of("training.demo", ["--out", str(folder / "out"), "--quick"]) == 2
    assert "another run is writing to" in capfd.readouterr().err


# --- make ----------------------------------------------------------------------------------------------------------------------------


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """What make would do; nothing is done."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["curate", "my/videos"], "no target is called my/videos: make help lists them; a folder of videos is given as ROOT=my/videos"),
        (["curate", "tests"], "no target is called tests"),
        (["curate", "ROOT=my", "videos"], "no target is called videos"),
        (["curate", "root=my/videos"], "nothing reads root: the variables are SOURCE ROOT"),
        (["curate", "SOURC=hdtf", "ROOT=data"], "nothing reads SOURC"),
        (["train", "STEPS=3"], "nothing reads STEPS"),
    ],
)
def test_make_refuses_what_it_would_pass_over(words: list[str], message: str) -> None:
    done = make(*words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not done.stdout


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["curate", "ROOT=my/videos"], "curation run --root 'my/videos' --out 'outputs/curation'"),
        (["curate", "ROOT="], "curation run --root '' --out"),
        (["curate"], "curation run --out 'outputs/curation'"),
        (["curate", "ROOT=my videos", "OUT=my out"], "curation run --root 'my videos' --out 'my out'"),
        (["plan", "SOURCE=hdtf", "ROOT=data/hdtf"], "curation plan --source 'hdtf' --root 'data/hdtf'"),
    ],
)
def test_make_hands_on_what_was_typed(words: list[str], command: str) -> None:
    done = make(*words)
    assert done.returncode == 0, done.stderr
    assert command in " ".join(done.stdout.split())
