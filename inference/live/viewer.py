"""A page that shows the live animation: JPEG pictures one after the other over HTTP, which any browser and OBS can show."""

from __future__ import annotations

import functools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import numpy as np

from manifests import UserError

_BOUNDARY = "frame"
_JPEG_QUALITY = 90
_PAGE = b"""<!doctype html><title>MegActor-Sigma, live: synthetic</title>
<body style="margin:0;background:#111;display:grid;place-items:center;
height:100vh"><img src="/stream" alt="the portrait, animated" style="max-width:100%;max-height:100%">"""
_SILENCE_S = 1.0  # how often a page that waits is looked at, to see whether the viewer has closed


class Viewer:
    """Serves `/`, a page, and `/stream`, the pictures, until it is closed. A context manager.

    Attributes:
        address: of the page.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, port: int, host: str = "127.0.0.1"):
        self._jpeg, self._number, self._closed = b"", 0, False
        self._news = threading.Condition()
        viewer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/stream":
                    viewer._stream(self)
                elif self.path == "/":
                    self.send_response(200)
                    self.send_header("Content-Type", "text/html; charset=utf-8")
                    self.end_headers()
                    self.wfile.write(_PAGE)
                else:
                    self.send_error(404)

            def log_message(self, *_: object) -> None:
                """Says nothing: the terminal shows the latency."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise UserError(f"cannot listen on {host}:{port}: {error.strerror}; --port names another") from None
        self._server.daemon_threads = True
        self.address = f"http://{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def show(self, rgb: np.ndarray) -> None:
        """The next picture, (H, W, 3) uint8."""
        import cv2

        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        with self._news:
            self._jpeg, self._number = jpeg.tobytes(), self._number + 1
            self._news.notify_all()

    def _has_news(self, seen: int) -> bool:
        return self._closed or self._number > seen

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        seen = 0
        try:
            while True:
                with self._news:
                    self._news.wait_for(functools.partial(self._has_news, seen), _SILENCE_S)
                    if self._closed:
                        return
                    if self._number == seen:
                        continue
                    jpeg, seen = self._jpeg, self._number
                request.wfile.write(f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode())
                request.wfile.write(jpeg + b"\r\n")
        except OSError:
            return  # the viewer has gone
