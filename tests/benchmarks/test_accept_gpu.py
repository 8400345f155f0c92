"""`make accept-gpu`: it stops at a failure, goes on where it was, and never passes what it did not see."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the acceptance trains: install the [train] extra")

from benchmarks import accept_gpu  # noqa: E402
from benchmarks.accept import page, parts  # noqa: E402
from benchmarks.accept.journal import FAILED, PASSED, SKIPPED, Journal, Result, read  # noqa: E402
from benchmarks.accept.killed_run import records  # noqa: E402
from benchmarks.accept.parts import PARTS, Machine  # noqa: E402
from benchmarks.accept.step import Step  # noqa: E402
from manifests import UserError  # noqa: E402
from tests.training.data_material import write_manifest  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"name": "NVIDIA Test", "device": "cuda", "count": 1, "tiny": False, "torch": "2", "driver": "580"}


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine("cpu", 0, True, tmp_path)


def run(machine: Machine, steps: list[Step], monkeypatch, again: bool = False) -> tuple[bool, dict]:
    monkeypatch.setattr(accept_gpu, "PARTS", {"part": lambda machine: steps})
    journal = Journal(machine.folder, MACHINE)
    well = accept_gpu.accept(journal, machine, ["part"], again)
    return well, {name: result.state for name, result in Journal(machine.folder, MACHINE).results.items()}


def test_it_stops_at_the_first_failure_and_goes_on_from_there(machine, monkeypatch) -> None:
    count = machine.folder / "count"
    tally = f"open({str(count)!r}, 'a').write('x')"
    good, bad = Step("part/good", python(tally)), Step("part/bad", python("print('the reason'); raise SystemExit(3)"))
    later = Step("part/later", python("pass"))
    well, states = run(machine, [good, bad, later], monkeypatch)
    assert not well
    assert states == {"part/good": PASSED, "part/bad": FAILED}
    why = Journal(machine.folder, MACHINE).results["part/bad"].why
    assert why[0].startswith("exit code 3")
    assert why[-1] == "the reason"
    well, states = run(machine, [good, Step("part/bad", python("pass")), later], monkeypatch)
    assert well
    assert set(states.values()) == {PASSED}
    assert count.read_text() == "x"
    run(machine, [good], monkeypatch, again=True)
    assert count.read_text() == "xx"


def test_figures_are_demanded_and_a_step_without_them_fails(machine, monkeypatch) -> None:
    file = machine.folder / "figures.json"
    write = python(f"open({str(file)!r}, 'w').write('{{\"mfu\": 0.01}}')")
    low = Step("part/low", write, lambda: json.loads(file.read_text()), lambda found: ["too low"] if found["mfu"] < 0.05 else [])
    assert run(machine, [low], monkeypatch) == (False, {"part/low": FAILED})
    assert Journal(machine.folder, MACHINE).results["part/low"].why == ["too low"]
    silent = Step("part/silent", python("pass"), lambda: json.loads((machine.folder / "nothing").read_text()))
    assert run(machine, [silent], monkeypatch)[1]["part/silent"] == FAILED


def test_what_the_machine_lacks_is_skipped_and_said(machine, monkeypatch) -> None:
    two = Step("part/two", python("raise SystemExit(1)"), lacking="needs two devices, there is 1")
    assert run(machine, [two], monkeypatch) == (True, {"part/two": SKIPPED})
    assert "needs two devices" in page.page(read(machine.folder))


def test_results_of_another_machine_are_not_gone_on_with(tmp_path) -> None:
    Journal(tmp_path, MACHINE).add("a/b", Result(PASSED))
    with pytest.raises(UserError, match="name: 'NVIDIA Test' → 'other'"):
        Journal(tmp_path, MACHINE | {"name": "other"})


def test_only_a_whole_run_on_a_gpu_goes_into_the_documentation(tmp_path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    step = {"state": PASSED, "seconds": 3.0, "figures": {"mfu": 0.4567, "samples_per_s": 70.25, "data_wait": 0.004}, "why": []}
    tree = {"machine": MACHINE, "steps": {"training/s1": step}}
    page.write_docs(document, tree)
    text = document.read_text()
    assert "1 × NVIDIA Test, torch 2, driver 580" in text
    assert "| training/s1 | 70.25 samples/s; 0.4% of it waiting for data; 45.7% MFU |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    with pytest.raises(UserError, match="toy size"):
        page.write_docs(document, tree | {"machine": MACHINE | {"tiny": True}})
    with pytest.raises(UserError, match=r"not all of it passed \(training/s1\)"):
        page.write_docs(document, tree | {"steps": {"training/s1": step | {"state": FAILED}}})
    assert accept_gpu.DOCUMENT.read_text().count(page.BEGIN) == 1


def test_demands_on_a_training_run(tmp_path) -> None:
    full = Machine("cuda", 1, False, tmp_path)
    good = {"step": 30, "finite": True, "skipped": 0, "data_wait": 0.01, "mfu": 0.4}
    wrong = parts._demands(full, 1, cached=True)
    assert wrong(good) == []
    for change, says in (
        ({"data_wait": 0.03}, "waits for data"),
        ({"finite": False}, "finite"),
        ({"skipped": 1}, "1 steps skipped"),
        ({"step": 20}, "step 20 of 30"),
        ({"mfu": 0.01}, "MFU is 1.0%"),
    ):
        (line,) = wrong(good | change)
        assert says in line
    assert parts._demands(full, 1, cached=False)(good | {"data_wait": 0.5}) == []


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_step_of_every_part_names_what_exists(tmp_path, device) -> None:
    """Modules, commands and settings: that a configuration is one shows here, not in the hour on the GPU."""
    from training.config import load_training_config

    machine = Machine(device, 2, device == "cpu", tmp_path)
    names = [step.name for part in PARTS for step in PARTS[part](machine)]
    assert len(names) == len(set(names))
    assert [name.split("/")[0] for name in names] == sorted((name.split("/")[0] for name in names), key=list(PARTS).index)
    for part in ("training", "ranks"):
        for step in PARTS[part](machine):
            if "--stage" in step.command:
                words = list(step.command)
                overrides = tuple(words[i + 1] for i, word in enumerate(words) if word == "--set")
                stage, config = int(words[words.index("--stage") + 1]), words[words.index("--config") + 1]
                settings = load_training_config(config, stage, overrides)
                assert settings.accumulation(2 if part == "ranks" else 1)[1] == 1
                assert settings.hardware.device == device


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_without_a_gpu_it_ends_in_one_line(tmp_path, capsys) -> None:
    assert accept_gpu.main(["--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: no CUDA device")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert accept_gpu.main(["--tiny"]) == 2
    assert accept_gpu.main(["--out", str(tmp_path), "--write-docs"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_all_parts_run_at_toy_size_and_go_on_after_a_kill(tmp_path) -> None:
    """Every part on the CPU; killed (kill -9) while it trains, then called again."""
    manifest = write_manifest(tmp_path / "clips", 3, n_frames=30)
    out = tmp_path / "accept"
    command = [sys.executable, "-m", "benchmarks.accept_gpu", "--device", "cpu", "--tiny", "--out", str(out), "--manifest", str(manifest)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 1200
    while not (out / "runs" / "s1-eager-online" / "log.jsonl").is_file():
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = {name for name, result in read(out)["steps"].items() if result["state"] == PASSED}
    assert "doctor/machine" in before
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2400)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count(" before") == len(before)
    tree = read(out)
    assert {result["state"] for result in tree["steps"].values()} == {PASSED}
    assert {name.split("/")[0] for name in tree["steps"]} == set(PARTS)
    assert tree["steps"]["ranks/s1-ddp"]["figures"]["step"] == 6
    assert "went on to step 6" in (out / "logs" / "training-s1-eager-cached-killed.txt").read_text()
    assert [record["step"] for record in records(out / "runs" / "s3")] == [1, 2, 3, 4, 5, 6]
    assert "| actors/four-on-one | passed |" in (out / "accept.md").read_text()
