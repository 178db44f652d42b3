"""A wire that can be cut: forwards bytes between the SDK and a storage, until a test breaks it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

from opencost_kusto.emulator import MemoryStorage

_BLOB = re.compile(rb"PUT (/\S*)/[^/?]+\?\S*sig=\S* HTTP")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
Breaks = Literal["cut", "swallow"]


class Proxy:
    """Listens on 127.0.0.1 and forwards to `target`, a base URL.

    Uploads of blobs to a container for which `breaks` says so are cut: half of the body is forwarded, then both sides
    are closed. Or they are swallowed: read to the end, without a response. `broken` are the containers that were hit.
    """

    def __init__(self, target: str, breaks: Callable[[Proxy, str], Breaks | None]) -> None:
        self.broken: list[str] = []
        self._target = urlsplit(target)
        self._breaks = breaks
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """The base URL, with the target's path."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}{self._target.path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A closed listener does not wake the thread that accepts.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for one in list(self._open):
            _close(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection((str(self._target.hostname), int(self._target.port or 80)))
        self._open |= {client, server}
        with suppress(OSError):
            head = _head(client)
            blob = _BLOB.match(head)
            breaks = self._breaks(self, blob[1].decode()) if blob else None
            if blob and breaks:
                self.broken.append(blob[1].decode())
                self._break(client, server, head, breaks)
            else:
                server.sendall(head)
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()
        for one in (client, server):
            _close(one)
        self._open -= {client, server}

    def _break(self, client: socket.socket, server: socket.socket, head: bytes, how: Breaks) -> None:
        start = head.index(b"\r\n\r\n") + 4
        found = _LENGTH.search(head)
        half = int(found[1]) // 2 if found else 0
        if how == "swallow":
            while client.recv(1 << 16):
                pass
            return
        server.sendall(head[:start])
        body = head[start:]
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


def first_only(proxy: Proxy, container: str) -> Breaks | None:
    """Cut uploads to the container that is tried first."""
    return "cut" if proxy.broken in ([], [container] * len(proxy.broken)) else None


def _head(client: socket.socket) -> bytes:
    """What came up to the end of the request's headers, and perhaps a little more."""
    head = b""
    while b"\r\n\r\n" not in head and (more := client.recv(1 << 12)):
        head += more
    return head


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
