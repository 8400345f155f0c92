"""Messages between reader and child: a JSON object and raw bytes, both with their lengths in front."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

_HEADER = struct.Struct("<II")
_MAX_TEXT_BYTES = 1 << 26  # 64 MiB: more comes from a child that writes garbage
_MAX_PAYLOAD_BYTES = 1 << 31  # 2 GiB: 18 hours of sound at 16 kHz


def send(channel: socket.socket, message: dict[str, Any], payload: bytes | memoryview = b"") -> None:
    """Raises OSError if the other side is gone."""
    text = json.dumps(message).encode("ascii")
    channel.sendall(_HEADER.pack(len(text), len(payload)) + text)
    if len(payload):
        channel.sendall(payload)


def receive(channel: socket.socket, left_s: Callable[[], float] | None = None) -> tuple[dict[str, Any], bytearray]:
    """The next message; `left_s` says how long its rest may still take, and is asked again when that has passed.

    Raises:
        TimeoutError: no time is left.
        EOFError: the other side is gone or talks nonsense.
    """
    n_text, n_payload = _HEADER.unpack(_receive_exactly(channel, _HEADER.size, left_s))
    if n_text > _MAX_TEXT_BYTES or n_payload > _MAX_PAYLOAD_BYTES:
        raise EOFError(f"a message of {n_text} + {n_payload} bytes")
    try:
        message = json.loads(_receive_exactly(channel, n_text, left_s))
    except ValueError as error:
        raise EOFError("a message that is no JSON") from error
    return message, _receive_exactly(channel, n_payload, left_s)


def _receive_exactly(channel: socket.socket, n_bytes: int, left_s: Callable[[], float] | None) -> bytearray:
    data = bytearray(n_bytes)
    view = memoryview(data)
    while len(view):
        if left_s is not None:
            wait_s = left_s()
            if wait_s <= 0:
                raise TimeoutError
            channel.settimeout(wait_s)
        try:
            n = channel.recv_into(view)
        except TimeoutError:
            continue
        except ConnectionError as error:
            raise EOFError(str(error)) from error
        if n == 0:
            raise EOFError("closed")
        view = view[n:]
    return data
