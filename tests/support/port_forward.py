"""An API server's port-forward: WebSockets with v4.channel.k8s.io, each joined to a connection to a pod.

Written after the protocol of Kubernetes (pkg/kubelet/server/portforward/websocket.go); everything else is answered
from a table.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from tests.support.listener import Listener, head

_PROTOCOL = b"v4.channel.k8s.io"
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE = 0x82, 8
_CHUNK = 20_000


class PortForward(Listener):
    """Forwards to `port`; `replies` are complete HTTP responses by path, `error` is the text of the error channel."""

    def __init__(self, port: int, replies: Mapping[str, bytes], error: str = "") -> None:
        super().__init__()
        self.forwarded: list[str] = []
        self._port, self._replies, self._error = port, replies, error

    def serve(self, client: socket.socket) -> None:
        """Serve one request, or forward."""
        request = head(client)
        if not request:
            return
        # A proxy is requested a whole address.
        path = urlsplit(request.split(b" ", 2)[1].decode())._replace(scheme="", netloc="").geturl()
        if b"Upgrade: websocket" not in request or path in self._replies:
            client.sendall(self._replies[path])
            return
        assert _PROTOCOL in request
        key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
        client.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\nSec-WebSocket-Protocol: " + _PROTOCOL + b"\r\n\r\n"
        )
        self.forwarded.append(path)
        port = (9003).to_bytes(2, "little")
        for channel in (b"\0", b"\1"):
            _send(client, channel + port)
        if self._error:
            _send(client, b"\1" + self._error.encode())
            return
        with socket.create_connection(("127.0.0.1", self._port)) as pod:
            self.open.add(pod)
            threading.Thread(target=_back, args=(pod, client), daemon=True).start()
            while (message := _receive(client)) is not None:
                assert message[:1] == b"\0"
                pod.sendall(message[1:])


def _back(pod: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while data := pod.recv(_CHUNK):
            _send(client, b"\0" + data)
        client.sendall(bytes([0x80 | _CLOSE, 0]))


def _send(client: socket.socket, message: bytes) -> None:
    """A binary message in one frame."""
    size = len(message)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    client.sendall(bytes([_BINARY]) + length + message)


def _receive(client: socket.socket) -> bytes | None:
    """The next message, whose frame is masked as all of a client are; None at the end."""
    kind, size = _exactly(client, 2)
    length = size & 0x7F
    if length == 126:
        length = int.from_bytes(_exactly(client, 2), "big")
    mask = _exactly(client, 4)
    data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(_exactly(client, length)))
    return None if kind & 0xF == _CLOSE else data


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data
