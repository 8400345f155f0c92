"""Messages between reader and child: a JSON object and raw bytes, both with their lengths in front."""

from __future__ import annotations

import json
import socket
import struct
import time
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


def receive(channel: socket.socket, timeout_s: float | None = None) -> tuple[dict[str, Any], bytearray]:
    """Raises TimeoutError when the message is not complete in time, EOFError when the other side is gone or talks nonsense."""
    give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
    n_text, n_payload = _HEADER.unpack(_receive_exactly(channel, _HEADER.size, give_up_at))
    if n_text > _MAX_TEXT_BYTES or n_payload > _MAX_PAYLOAD_BYTES:
        raise EOFError(f"a message of {n_text} + {n_payload} bytes")
    try:
        message = json.loads(_receive_exactly(channel, n_text, give_up_at))
    except ValueError as error:
        raise EOFError("a message that is no JSON") from error
    return message, _receive_exactly(channel, n_payload, give_up_at)


def _receive_exactly(channel: socket.socket, n_bytes: int, give_up_at: float | None) -> bytearray:
    data = bytearray(n_bytes)
    view = memoryview(data)
    while len(view):
        if give_up_at is not None:
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            channel.settimeout(left_s)
        try:
            n = channel.recv_into(view)
        except ConnectionError as error:
            raise EOFError(str(error)) from error
        if n == 0:
            raise EOFError("closed")
        view = view[n:]
    return data
