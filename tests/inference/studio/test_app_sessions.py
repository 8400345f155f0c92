"""The page itself, without a browser: a job belongs to its session, uploads arrive as they are, nothing of a result stays."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from curation.samples.portrait import load_picture
from inference.driving.picture import read_picture
from inference.studio.jobs import Job, Jobs, StoppedError
from inference.studio.loading import LoadOptions
from inference.studio.request import Request
from inference.studio.results import Results
from inference.studio.session import Studio
from manifests import UserError
from tests.inference.moving_portrait import write_moving_portrait


def test_the_last_few_results_stay_and_none_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results = Results(kept=3)
    made = [results.new("animation.mp4") for _ in range(21)]
    assert [path.parent.is_dir() for path in made] == [False] * 18 + [True] * 3
    assert len(set(made)) == 21
    made[-1].write_bytes(b"video")
    results.close()
    assert list(tmp_path.iterdir()) == []


def test_stop_ends_the_job_of_its_session_alone() -> None:
    jobs = Jobs()
    ours, theirs = jobs.ask("a"), jobs.ask("b")
    jobs.stop("b")
    jobs.stop("nobody")
    ours.check()
    with pytest.raises(StoppedError, match=r"^stopped$"):
        theirs.check()
    again = jobs.ask("a")  # asked for anew before the former is over
    with pytest.raises(StoppedError):
        ours.check()
    jobs.end("a", ours)
    assert jobs.of("a") is again
    jobs.end("a", again)
    jobs.stop("a")
    jobs.of("a").check()  # what was stopped is over; the next is another


class _Endless(Job):
    """Stops itself after some looks."""

    def __init__(self, looks: int):
        super().__init__()
        self.looks = looks

    def check(self) -> None:
        self.looks -= 1
        if self.looks < 0:
            self.stop()
        super().check()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, str]:
    return write_moving_portrait(tmp_path_factory.mktemp("sessions"), 12)


def test_a_stop_is_heard_while_the_driver_is_read_and_while_another_reads_one(files, tmp_path) -> None:
    portrait, driver = files
    studio = Studio(LoadOptions(str(tmp_path / "no model is loaded")))
    studio.settings = SimpleNamespace(landmarks="facemesh")
    request = Request(reference=portrait, driving=driver, out=str(tmp_path / "out.mp4"))
    job = _Endless(looks=4)  # once before, then at every frame
    with pytest.raises(StoppedError):
        studio.generate(request, lambda progress: None, job)
    with studio._lock:  # another session's driver is being read
        waiting = Job()
        threading.Timer(0.2, waiting.stop).start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            studio.generate(request, lambda progress: None, waiting)
    assert time.monotonic() - began < 2
    assert not (tmp_path / "out.mp4").exists()


@pytest.fixture
def page(tmp_path, monkeypatch):
    """(address, requests that reached the studio) of a page whose studio works until its job is stopped."""
    gradio = pytest.importorskip("gradio", reason="the app needs gradio: install the [app] extra")
    pytest.importorskip("gradio_client")
    from inference.studio.app import build

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    seen: list[Request] = []

    def generate(request: Request, on_progress, job: Job):
        seen.append(request)
        if request.seed == 0:
            read_picture(request.reference)
            raise UserError("read")
        while True:
            job.check()
            time.sleep(0.02)

    results = Results()
    studio = SimpleNamespace(generate=generate, preview=None, hears=True, model_line="no model")
    built = build(studio, {"fast": "quick"}, results)
    assert isinstance(built, gradio.Blocks)
    _, address, _ = built.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield address, seen
    built.close()
    results.close()


def _animate(client, portrait: str, driver: str, seed: int):
    """Submits the page's form: every other control as the page has it."""
    from gradio_client import handle_file

    endpoint = client.view_api(return_format="dict")["named_endpoints"]["/animate"]
    values = {}
    for parameter in endpoint["parameters"]:
        name, label = parameter["parameter_name"], parameter["label"]
        if label.startswith("Portrait"):
            values[name] = handle_file(portrait)
        elif label.startswith("Driver:"):
            values[name] = handle_file(driver)
        elif label == "Seed":
            values[name] = seed
        elif not parameter["parameter_has_default"]:
            values[name] = None
    return client.submit(api_name="/animate", **values)


def test_one_clients_stop_leaves_the_others_job_and_its_own_ends_at_once(page, files) -> None:
    from gradio_client import Client

    address, seen = page
    ours, other = Client(address, verbose=False), Client(address, verbose=False)
    job = _animate(ours, *files, seed=7)
    end = time.monotonic() + 60
    while not seen and time.monotonic() < end:
        time.sleep(0.05)
    other.predict(api_name="/stop")
    time.sleep(0.5)
    assert not job.done()
    began = time.monotonic()
    ours.predict(api_name="/stop")
    assert "stopped" in job.result(timeout=30)[1]
    assert time.monotonic() - began < 5


def test_portraits_arrive_as_the_command_line_reads_them_and_other_files_get_one_line(page, files, tmp_path) -> None:
    from gradio_client import Client

    address, seen = page
    face = load_picture()
    alpha = np.dstack([face, np.zeros(face.shape[:2], np.uint8)])
    alpha[50:300, 100:400, 3] = 255
    Image.fromarray(alpha).save(tmp_path / "cutout.png")
    Image.fromarray((face.mean(axis=2) * 257).astype(np.uint16)).save(tmp_path / "grey16.png")
    (tmp_path / "notes.png").write_text("no picture at all")
    client = Client(address, verbose=False)
    for name in ("cutout.png", "grey16.png"):
        assert "read" in _animate(client, str(tmp_path / name), files[1], seed=0).result(timeout=60)[1]
        np.testing.assert_array_equal(read_picture(seen[-1].reference), read_picture(tmp_path / name))
    told = _animate(client, str(tmp_path / "notes.png"), files[1], seed=0).result(timeout=60)[1]
    assert "not a picture that can be read" in told
    assert "\n" not in told.strip()


@pytest.mark.slow
def test_nothing_stays_after_the_app_was_terminated(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the app needs gradio: install the [app] extra")
    environment = os.environ | {"TMPDIR": str(tmp_path), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "inference", "app", "--port", "0", "--device", "cpu"]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert any(line.startswith("http://") for line in iter(process.stderr.readline, "")), "the app ended before it listened"
        assert len(list(tmp_path.glob("megactor-app-*"))) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert list(tmp_path.iterdir()) == []
