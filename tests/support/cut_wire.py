"""A wire that can be cut: forwards bytes between the SDK and a storage, until a test breaks it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

from opencost_kusto.emulator import MemoryStorage
from tests.support.listener import Listener, head

_BLOB = re.compile(rb"PUT (/\S*)/[^/?]+\?\S*sig=\S* HTTP")
_KEPT = re.compile(rb"\r\nconnection: *keep-alive", re.IGNORECASE)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
Breaks = Literal["cut", "swallow"]


class CutWire(Listener):
    """Forwards to `target`, a base URL.

    Uploads of blobs to a container for which `breaks` says so are cut: half of the body is forwarded, then both sides
    are closed. Or they are swallowed: read to the end, without a response. `broken` are the containers that were hit.
    From the first of them on, a connection has one request, so that none to a broken container passes on one that was
    opened for another.
    """

    def __init__(self, target: str, breaks: Callable[[CutWire, str], Breaks | None]) -> None:
        super().__init__()
        self.broken: list[str] = []
        self._target = urlsplit(target)
        self._breaks = breaks

    @property
    def url(self) -> str:
        """The base URL, with the target's path."""
        return super().url + self._target.path

    def serve(self, client: socket.socket) -> None:
        """Forward a request, or break it."""
        with socket.create_connection((str(self._target.hostname), int(self._target.port or 80))) as server:
            self.open.add(server)
            request = head(client)
            blob = _BLOB.match(request)
            breaks = self._breaks(self, blob[1].decode()) if blob else None
            if blob and breaks:
                self.broken.append(blob[1].decode())
                self._break(client, server, request, breaks)
            else:
                server.sendall(_KEPT.sub(b"\r\nConnection: close", request, count=1) if self.broken else request)
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()
            self.open.discard(server)

    def _break(self, client: socket.socket, server: socket.socket, request: bytes, how: Breaks) -> None:
        start = request.index(b"\r\n\r\n") + 4
        found = _LENGTH.search(request)
        half = int(found[1]) // 2 if found else 0
        if how == "swallow":
            while client.recv(1 << 16):
                pass
            return
        server.sendall(request[:start])
        body = request[start:]
        while len(body) < half and (more := client.recv(half - len(body))):
            body += more
        server.sendall(body[:half])


class Proxied(MemoryStorage):
    """Storage in memory whose containers are reached through a proxy."""

    def __init__(self, url: str, proxied: str) -> None:
        super().__init__(url)
        self._proxied = url, proxied

    def containers(self) -> list[str]:
        """The containers' URLs, on the proxy's port."""
        return [url.replace(*self._proxied) for url in super().containers()]


def first_only(wire: CutWire, container: str) -> Breaks | None:
    """Cut uploads to the container that is tried first."""
    return "cut" if wire.broken in ([], [container] * len(wire.broken)) else None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
