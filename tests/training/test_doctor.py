"""`python -m training doctor`: what a machine lacks is said, and a machine that pretends is found out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the doctor looks at torch: install the [train] extra")

from training.doctor import FAIL, NOTE, OK, Device, Finding, _all_reduce, _compiler, _disk, _driver, _torch, examine, report, runs_on  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        (90, ["sm_80", "sm_90"], True),
        (89, ["sm_80", "sm_90"], True),  # binary code runs on later devices of the same major version
        (70, ["sm_75", "sm_80", "sm_90", "compute_90"], False),  # a V100 and torch for CUDA 13
        (120, ["sm_90", "compute_90"], True),  # the driver compiles portable code
        (120, ["sm_90"], False),
        (75, ["sm_80"], False),
        (90, ["sm_90a"], True),
        (100, ["sm_90a"], False),
    ],
)
def test_which_devices_a_build_has_code_for(capability, built, runs) -> None:
    assert runs_on(capability, built) is runs


def test_a_v100_under_torch_for_cuda_13_names_the_build_that_is_needed(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])
    state, text = _torch([Device("Tesla V100-SXM2-32GB", 70, 34.0)], FAIL)
    assert state == FAIL
    assert "Tesla V100-SXM2-32GB is sm_70" in text
    assert "CUDA 12.6" in text
    assert _torch([Device("NVIDIA H100", 90, 80.0)], FAIL)[0] == OK


def fake_nvidia_smi(folder: Path, prints: str, code: int = 0) -> None:
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\necho '{prints}'\nexit {code}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("prints", "code", "state", "says"),
    [
        ("570.86.15, NVIDIA H100 80GB HBM3", 0, FAIL, "driver 580 or newer"),
        ("580.65.06, NVIDIA H100 80GB HBM3", 0, OK, "NVIDIA H100"),
        ("NVIDIA-SMI has failed because it could not communicate", 9, NOTE, "could not communicate"),
    ],
)
def test_the_driver_is_as_new_as_torchs_cuda_wants(tmp_path, monkeypatch, prints, code, state, says) -> None:
    fake_nvidia_smi(tmp_path, prints, code)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found, text = _driver([], NOTE)
    assert found == state
    assert says in text


def test_a_missing_compiler_is_named_with_what_wants_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    state, text = _compiler(FAIL)
    assert state == FAIL
    assert "hardware.compile=false" in text


def test_a_disk_that_checkpoints_would_fill(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("training.doctor.MIN_DISK_GB", 1e9)
    state, text = _disk(tmp_path / "not" / "there" / "yet", FAIL)
    assert state == FAIL
    assert str(tmp_path) in text


def test_ranks_sum() -> None:
    assert _all_reduce(0) == (OK, "gloo over 2 ranks")


@pytest.mark.slow
def test_a_rank_that_fails_is_reported(monkeypatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no-such-interface")
    state, text = _all_reduce(0)
    assert state == FAIL
    assert "gloo over 2 ranks failed" in text


def test_a_check_that_breaks_is_a_finding_and_the_others_still_run(monkeypatch) -> None:
    def broken(devices):
        raise OSError("no such thing")

    monkeypatch.setattr("training.doctor._all_reduce", broken)
    findings = {finding.name: finding for finding in examine(need_gpu=False)}
    assert findings["all-reduce"].state == FAIL
    assert "no such thing" in findings["all-reduce"].text
    assert {"python", "driver", "torch", "compiler", "/dev/shm", "onnxruntime", "memory", "disk"} < findings.keys()
    assert findings["onnxruntime"].state == OK
    assert "not ready: all-reduce" in report(list(findings.values()))


def test_the_report_says_for_which_profile() -> None:
    assert report([Finding("driver", OK, "")]).endswith("ready for the paper profile")
    assert report([Finding("driver", NOTE, "")]).endswith("ready for the embedded profile")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_the_command_ends_with_1_where_a_gpu_is_asked_for_and_0_where_none_is() -> None:
    for arguments, code in (((), 0), (("--gpu",), 1)):
        done = subprocess.run(
            [sys.executable, "-m", "training", "doctor", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, done.stdout + done.stderr
    assert "not ready: driver, torch, onnxruntime" in done.stdout


def test_setting_up_again_leaves_the_gpus_onnxruntime_in_place(tmp_path) -> None:
    """make -n prints what it would run: with the stamp of setup-gpu the extra is `gpu`, without it `cpu`, and never both."""
    for stamps, wanted, other in (((".python", ".core"), "cpu", "gpu"), ((".python", ".core", ".gpu"), "gpu", "cpu")):
        venv = tmp_path / wanted
        venv.mkdir()
        for stamp in stamps:
            (venv / stamp).touch()
        printed = subprocess.run(
            ["make", "-n", f"VENV={venv}", f"{venv}/.train"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert f",{wanted}]'" in printed
        assert f",{other}]'" not in printed
