import hashlib
import http.server
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest

from curation.weights import Model, ModelMissingError, ModelRefusedError, Store, load_table
from curation.weights.store import download, status_lines
from curation.weights.table import PROFILES, needed_by
from manifests.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves DATA; /cut ends early, /norange ignores ranges, /wrong serves something else."""

    asked: ClassVar[list] = []
    data: ClassVar[bytes] = DATA
    released: ClassVar[threading.Event] = threading.Event()

    def do_GET(self):
        wanted = self.headers.get("Range")
        Server.asked.append((self.path, wanted))
        data = DATA[::-1] if self.path == "/wrong" else Server.data
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and self.path != "/norange" else 0
        if start >= len(data):
            self.send_error(416)
            return
        body = data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/slow" and not start:  # half at once, the rest after the test has killed who asked
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            Server.released.wait(60)
            return
        if self.path == "/cut":
            self.wfile.write(body[: max(1, len(body) // 2)])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    Server.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def store(folder: Path, *sources: str, sha256: str | None = SHA, **more) -> Store:
    sources = sources or ("http://127.0.0.1:9/x",)
    return Store((folder,), {"net": Model("a/net.bin", sources, "MIT", "tests", ("curation",), sha256=sha256, **more)})


def test_fetch_verifies_and_find_gives_the_file(tmp_path, url):
    chosen = store(tmp_path, f"{url}/whole", size_bytes=len(DATA))
    with pytest.raises(ModelMissingError, match="python -m curation models fetch net"):
        chosen.find("net")
    assert chosen.fetch("net").read_bytes() == DATA
    assert chosen.find("net") == tmp_path / "a" / "net.bin"
    assert len(Server.asked) == 1
    chosen.fetch("net")
    assert len(Server.asked) == 1


def test_a_download_cut_off_continues_and_the_next_source_is_tried(tmp_path, url):
    chosen = store(tmp_path, f"{url}/cut", f"{url}/whole")
    assert chosen.fetch("net").read_bytes() == DATA
    (first, none), (second, wanted) = Server.asked
    assert (first, none, second) == ("/cut", None, "/whole")
    assert int(wanted.split("=")[1].rstrip("-")) == len(DATA) // 2


def test_a_killed_download_continues_even_from_a_server_without_ranges(tmp_path, url):
    part = tmp_path / "x.part"
    for have in (1, 1000, len(DATA) - 1, len(DATA)):
        for path in ("/whole", "/norange"):
            part.write_bytes(DATA[:have])
            download(f"{url}{path}", part)
            assert part.read_bytes() == DATA


def test_a_process_killed_during_download_continues(tmp_path, url):
    """kill -9 while bytes arrive; the next fetch asks for the rest alone and ends with the right digest."""
    big = DATA * 6
    code = "import sys; from pathlib import Path; from curation.weights.store import download; download(sys.argv[1], Path(sys.argv[2]))"
    part = tmp_path / "a" / "net.bin.part"
    part.parent.mkdir()
    chosen = store(tmp_path, f"{url}/slow", sha256=hashlib.sha256(big).hexdigest())
    Server.data, Server.released = big, threading.Event()
    try:
        victim = subprocess.Popen([sys.executable, "-c", code, f"{url}/slow", str(part)], cwd=ROOT)
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        victim.kill()
        victim.wait()
        Server.released.set()
        arrived = part.stat().st_size
        assert 0 < arrived < len(big)
        assert chosen.fetch("net").read_bytes() == big
    finally:
        Server.data = DATA
    assert Server.asked[-1] == ("/slow", f"bytes={arrived}-")


def test_wrong_digest_and_wrong_size_are_thrown_away(tmp_path, url):
    with pytest.raises(ModelMissingError, match="not " + SHA):
        store(tmp_path, f"{url}/wrong").fetch("net")
    with pytest.raises(ModelMissingError, match="bytes, not 7"):
        store(tmp_path, f"{url}/whole", size_bytes=7).fetch("net")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_changed_file_is_refused(tmp_path, url):
    chosen = store(tmp_path, f"{url}/whole")
    path = chosen.fetch("net")
    chosen.find("net")
    path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(ModelRefusedError, match="is not net"):
        chosen.find("net")
    assert "REFUSED" in status_lines(chosen)[1]


def test_an_unpublished_digest_is_pinned_at_the_first_fetch(tmp_path, url):
    chosen = store(tmp_path, f"{url}/whole", sha256=None)
    path = chosen.fetch("net")
    chosen.find("net")
    path.unlink()
    with pytest.raises(ModelMissingError, match="not " + SHA):
        store(tmp_path, f"{url}/wrong", sha256=None).fetch("net")
    path.write_bytes(b"planted")
    with pytest.raises(ModelRefusedError):
        chosen.find("net")


def test_a_file_that_nobody_fetched_is_not_trusted_without_a_digest(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "net.bin").write_bytes(DATA)
    with pytest.raises(ModelRefusedError, match="--from"):
        store(tmp_path, sha256=None).find("net")


def test_from_a_directory(tmp_path):
    origin = tmp_path / "stick"
    origin.mkdir()
    (origin / "net.bin").write_bytes(DATA)
    assert store(tmp_path / "models").fetch("net", origin=origin).read_bytes() == DATA
    with pytest.raises(ModelMissingError, match="holds neither"):
        store(tmp_path / "other").fetch("net", origin=tmp_path)


def test_search_order(tmp_path, monkeypatch):
    monkeypatch.setenv("MEGACTOR_MODELS", str(tmp_path / "two"))
    directories = Store.standard(tmp_path / "one").directories
    assert directories[:2] == (tmp_path / "one", tmp_path / "two")
    assert len(directories) == 3


def test_the_project_table_is_sound():
    table = load_table()
    assert {"dwpose-detector", "dwpose-pose", "syncnet", "s3fd"} <= set(table)
    assert all(model.needed_by for model in table.values())
    assert all(url.startswith("https://") for model in table.values() for url in model.sources)
    with pytest.raises(UserError, match="did you mean 'syncnet'"):
        Store.standard().model("syncnett")


@pytest.mark.parametrize("file", ["../up.bin", "/etc/x", ""])
def test_table_entries_stay_below_the_directory(file):
    with pytest.raises(ValueError, match="below the models directory"):
        Model(file, ("https://x",), "MIT", "tests", ("curation",))


def test_other_schemes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="http"):
        download("file:///etc/passwd", tmp_path / "x")


def two_files(folder: Path, url: str) -> Store:
    """Weights and the configuration that comes along, under a name that a third model's file has too."""
    net = Model("a/net.bin", (f"{url}/whole",), "MIT", "net", ("training",), along=("net-config",))
    small = {
        name: Model(f"{folder_name}/config.json", (f"{url}/whole",), "MIT", name, ("training",))
        for name, folder_name in (("net-config", "a"), ("x", "b"))
    }
    return Store((folder,), {"net": net, **small})


def test_what_comes_along_is_fetched_once_and_the_rest_goes_on_after_a_failure(tmp_path, url):
    chosen = two_files(tmp_path, url)
    found = list(chosen.fetch_all(["net", "net-config"]))
    assert [name for name, _ in found] == ["net", "net-config"]
    assert all(path.is_file() for _, path in found)
    broken = Store((tmp_path / "other",), chosen.table | {"net": Model("n", ("http://127.0.0.1:9/x",), "MIT", "n", ("training",))})
    names = {name: isinstance(found, ModelMissingError) for name, found in broken.fetch_all(["net", "x"])}
    assert names == {"net": True, "x": False}


def test_a_file_name_that_two_models_share_is_not_taken_from_a_flat_directory(tmp_path, url):
    origin = tmp_path / "stick"
    (origin / "b").mkdir(parents=True)
    (origin / "config.json").write_bytes(DATA)
    (origin / "b" / "config.json").write_bytes(DATA)
    chosen = two_files(tmp_path / "models", url)
    with pytest.raises(ModelMissingError, match=r"holds no a/config\.json"):
        chosen.fetch("net-config", origin=origin)
    assert chosen.fetch("x", origin=origin).read_bytes() == DATA


def test_a_profile_names_its_models():
    table = load_table()
    paper = needed_by(table, PROFILES["paper"])
    assert {"pixart-512", "easyanimate-motion", "syncnet", "dwpose-detector", "dwpose-pose"} <= set(paper)
    assert {"vae", "vae-config", "whisper-tiny", "whisper-tiny-config"} <= set(paper)
    assert not {"inswapper", "videomae-g"} & set(paper)
    assert needed_by(table, PROFILES["embedded"]) == []
    # `inference.models.components.find_weights` looks for folders of these names.
    assert {Path(table[name].file).parent.name for name in ("vae", "vae-config")} == {"sd-vae-ft-ema"}
    assert {Path(table[name].file).parent.name for name in ("whisper-tiny", "whisper-tiny-config")} == {"whisper-tiny"}


def test_the_command_says_what_each_model_is_for(tmp_path):
    from click.testing import CliRunner

    from curation.cli import cli

    listed = CliRunner().invoke(cli, ["models", "list", "--profile", "paper", "--models", str(tmp_path)])
    assert listed.exit_code == 0
    assert "# training\npixart-512" in listed.output
    assert "Open RAIL" in listed.output
    assert "inswapper" not in listed.output
    assert "needs no weights" in CliRunner().invoke(cli, ["models", "fetch", "--profile", "embedded", "--models", str(tmp_path)]).output
