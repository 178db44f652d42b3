"""A server that sends the bytes it was given, whatever they are: what HTTP libraries would correct, it does not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class RawServer:
    """Listens on 127.0.0.1, reads each request's headers, sends what `respond` makes of its path, and hangs up.

    `requests` are the requests' heads, as they came.
    """

    def __init__(self, respond: bytes | Callable[[str], bytes]) -> None:
        self.requests: list[bytes] = []
        self._respond = respond if callable(respond) else lambda _: respond
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=20)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A closed listener does not wake the thread that accepts.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(1 << 16)
            head += more
            if not more:
                return
        self.requests.append(head)
        connection.sendall(self._respond(head.split(b" ")[1].decode().partition("?")[0]))


def http(body: bytes, *headers: str, status: int = 200, version: str = "1.1") -> bytes:
    """A response with exactly these headers: without a length or chunks, its end is the connection's."""
    lines = [f"HTTP/{version} {status} X", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def sized(body: bytes, *headers: str, status: int = 200) -> bytes:
    """A response with its length."""
    return http(body, f"Content-Length: {len(body)}", *headers, status=status)


def chunked(body: bytes, *headers: str, last: bool = True, size: int = 100) -> bytes:
    """A response in chunks, with or without the last one."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    sent = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return http(sent + (b"0\r\n\r\n" if last else b""), "Transfer-Encoding: chunked", *headers)
