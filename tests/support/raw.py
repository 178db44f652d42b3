"""A server that sends the bytes it was given, whatever they are: what HTTP libraries would correct, it does not."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tests.support.listener import Listener, head


class RawServer(Listener):
    """Reads each request's headers, sends what `respond` makes of its path, and hangs up.

    `requests` are the requests' heads, as they came.
    """

    def __init__(self, respond: bytes | Callable[[str], bytes]) -> None:
        super().__init__()
        self.requests: list[bytes] = []
        self._respond = respond if callable(respond) else lambda _: respond

    def serve(self, client: socket.socket) -> None:
        """Respond to one request."""
        request = head(client)
        if b"\r\n\r\n" in request:
            self.requests.append(request)
            client.sendall(self._respond(request.split(b" ")[1].decode().partition("?")[0]))


def http(body: bytes, *headers: str, status: int = 200, version: str = "1.1") -> bytes:
    """A response with exactly these headers: without a length or chunks, its end is the connection's."""
    lines = [f"HTTP/{version} {status} X", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def sized(body: bytes, *headers: str, status: int = 200) -> bytes:
    """A response with its length."""
    return http(body, f"Content-Length: {len(body)}", *headers, status=status)


def chunked(body: bytes, *headers: str, last: bool = True, size: int = 100) -> bytes:
    """A response in chunks, with or without the last one."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    sent = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return http(sent + (b"0\r\n\r\n" if last else b""), "Transfer-Encoding: chunked", *headers)
