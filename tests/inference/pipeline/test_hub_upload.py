"""A trained pipeline goes to the Hub and comes back: a stub on this machine speaks as much of the Hub's HTTP as that takes."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")
pytest.importorskip("diffusers", reason="the pipeline needs diffusers: install the [train] extra")

import torch

from inference.cli import main
from inference.pipeline import MegActorSigmaPipeline
from manifests import UserError
from tests.inference.animation_parts import tiny_pipeline

COMMIT = "c0ffee" + "0" * 34


class Hub(ThreadingHTTPServer):
    """Repositories as dictionaries of files; takes the token `good` alone."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Request(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, content: bytes | dict | list, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer good":
            self.answer(401, {"error": "Invalid username or password."})
            return
        hub, path = self.server, urlsplit(self.path).path
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            hub.repositories.setdefault(name, {})
            hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.answer(200, {"url": f"{hub.url}/{name}"})
        elif path == "/api/validate-yaml":  # the README's first lines
            self.answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            self.answer(200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        else:
            assert path.endswith("/commit/main"), path
            name = "/".join(path.split("/")[3:5])
            files = hub.repositories[name]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "header":
                    hub.messages.append(line["value"]["summary"])
                else:
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": f"{hub.url}/{name}/commit/{COMMIT}", "hookOutput": ""})

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[0] == "api":
            files = self.server.repositories.get("/".join(parts[2:4]), {})
            if parts[4:5] == ["tree"]:
                rows = [{"type": "file", "path": name, "size": len(c), "oid": hashlib.sha1(c).hexdigest()} for name, c in files.items()]
                self.answer(200, rows)
                return
            known = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            self.answer(200, known) if files else self.answer(404, {}, {"X-Error-Code": "RepoNotFound"})
            return
        content = self.server.repositories.get("/".join(parts[:2]), {}).get("/".join(parts[4:]))
        if content is None:
            self.answer(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        self.answer(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET  # noqa: N815  as the standard library names it


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    at = "huggingface_hub.constants."
    monkeypatch.setattr(at + "ENDPOINT", server.url)
    monkeypatch.setattr(at + "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(at + "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(at + "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(at + "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_pipeline_goes_to_the_hub_and_comes_back(hub):
    pipe = tiny_pipeline()
    url = pipe.push_to_hub("me/mine", "first weights", private=True, token="good")
    assert url == f"{hub.url}/me/mine/commit/{COMMIT}"
    assert hub.messages == ["first weights"]
    assert hub.private == {"me/mine": True}
    files = hub.repositories["me/mine"]
    assert {"pipeline.json", "README.md", "scheduler/scheduler_config.json", "transformer/config.json"} < set(files)
    assert b"--model me/mine" in files["README.md"]
    back = MegActorSigmaPipeline.from_pretrained("me/mine")
    assert (back.settings, back.record) == (pipe.settings, pipe.record)
    ours, theirs = pipe.transformer.state_dict(), back.transformer.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_command_uploads_a_run_s_model_as_it_is_and_keeps_a_readme(hub, tmp_path, monkeypatch, capsys):
    tiny_pipeline().save_pretrained(tmp_path / "run" / "pipeline")
    monkeypatch.setenv("HF_TOKEN", "good")
    hub.repositories["me/mine"] = {"README.md": b"mine"}
    main(["push", "me/mine", "--model", str(tmp_path / "run")])
    assert capsys.readouterr().out.strip() == f"{hub.url}/me/mine/commit/{COMMIT}"
    files = hub.repositories["me/mine"]
    assert files["README.md"] == b"mine"
    for file in (tmp_path / "run" / "pipeline").rglob("*.*"):
        assert files[file.relative_to(tmp_path / "run" / "pipeline").as_posix()] == file.read_bytes()


def test_without_a_token_or_with_a_wrong_one_it_is_one_line(hub, tmp_path, monkeypatch, capsys):
    tiny_pipeline().save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit) as ended:
        main(["push", "me/mine", "--model", str(tmp_path / "model")])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: uploading to the Hub needs a token that may write: `hf auth login`, or set HF_TOKEN\n"
    assert not hub.repositories
    pipe = MegActorSigmaPipeline.from_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="refused me/mine: the token is wrong or may not write there"):
        pipe.push_to_hub("me/mine", token="bad")
    with pytest.raises(UserError, match="'mine' is no repository on the Hub: its id has the form owner/name"):
        pipe.push_to_hub("mine", token="good")
    with pytest.raises(UserError, match="'me/-mine-' is no repository on the Hub"):
        pipe.push_to_hub("me/-mine-", token="good")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the Hub cannot be reached \(http://127.0.0.1:9\)"):
        pipe.push_to_hub("me/mine", token="good")
