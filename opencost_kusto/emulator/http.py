"""The HTTP under both emulators: whole requests in, whole or deliberately broken replies out.

A *fault* is how a test breaks the wire without patching anything. It is a plain function, set as
`emulator.kusto.fault` or `emulator.opencost.fault`, called once per request after its body was read:

    def fault(request: Request) -> Reply | None: ...

- `None` lets the request through.
- A `Reply` is sent instead, and the request has no effect. `Reply.delay` waits first; a body that is an
  iterable is sent chunk by chunk and may sleep or raise `CloseConnection` on the way; a `Content-Length`
  header that is larger than the body sends the body and closes.
- `LOSE_REPLY` carries the request out and closes the connection without answering.
- Raising `CloseConnection` closes the connection; the request has no effect.

A fault may sleep to be slow. It runs on the connection's own thread, so several may run at once.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, NamedTuple, Self, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from opencost_kusto.errors import UsageError

_MOST_REQUESTS_KEPT: Final = 10_000


class CloseConnection(Exception):
    """Raised by a fault, a response or a body: the connection is closed and nothing more is sent."""


class Reply(NamedTuple):
    """One HTTP response; a body of bytes gets a Content-Length, an iterable of bytes goes out chunked."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes | Iterable[bytes] = b""
    delay: float = 0.0


LOSE_REPLY: Final = Reply(status=0)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it arrived: `path` and `query` are decoded, header names are lower case."""

    method: str
    target: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes = b""

    def param(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next((value for key, value in self.query if key == name), None)

    @property
    def csl(self) -> str:
        """The KQL or command text of a Kusto request, else an empty string."""
        if not self.path.startswith(("/v1/rest/", "/v2/rest/")):
            return ""
        with suppress(ValueError, AttributeError):
            return str(json.loads(self.body).get("csl", ""))
        return ""


Fault = Callable[[Request], Reply | None]


class Endpoint:
    """A server on 127.0.0.1 that records the requests it received and can be broken by a `fault`."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.fault: Fault | None = None
        self._server = _Server(port, self._reply)

    @property
    def url(self) -> str:
        """The base URL, with the port the system gave when none was chosen."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Begin to respond."""
        self._server.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def respond(self, request: Request) -> Reply:
        """The honest response to a request."""
        raise NotImplementedError

    def _reply(self, request: Request) -> Reply:
        self.requests.append(request)
        del self.requests[:-_MOST_REQUESTS_KEPT]
        planned = self.fault(request) if self.fault is not None else None
        if planned is None:
            return self.respond(request)
        if planned is LOSE_REPLY:
            self.respond(request)
            raise CloseConnection
        return Reply(*planned)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, respond: Callable[[Request], Reply]) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Connection)
        except (OSError, OverflowError) as refused:
            raise UsageError(f"port {port} of 127.0.0.1 cannot be used: {refused}; choose another") from refused
        self.respond = respond
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="emulator", daemon=True)

    def server_bind(self) -> None:
        # HTTPServer queries DNS for the machine's name here, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 5
        while self.connections and time.monotonic() < deadline:
            time.sleep(0.005)

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(cast("socket.socket", request), client_address)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def owner(self) -> _Server:
        return cast(_Server, self.server)

    def setup(self) -> None:
        super().setup()
        self.owner.connections.add(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.owner.connections.discard(self.connection)

    def version_string(self) -> str:
        return "emulator"

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: stdout and stderr belong to the program that runs the emulator."""

    def _handle(self) -> None:
        try:
            request = self._request()
            reply = self.owner.respond(request)
            if reply.delay:
                self.owner.stopping.wait(reply.delay)
            self._send(request, reply)
        except (CloseConnection, ConnectionError):
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _handle

    def _request(self) -> Request:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise CloseConnection
        return Request(
            method=self.command,
            target=self.path,
            path=unquote(url.path),
            query=tuple(parse_qsl(url.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )

    def _send(self, request: Request, reply: Reply) -> None:
        self.send_response_only(reply.status)
        headers = {"Server": self.version_string(), "Date": self.date_time_string(), **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        stated = {name.lower(): value for name, value in reply.headers.items()}.get("content-length")
        if isinstance(reply.body, bytes):
            if stated is None:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if request.method != "HEAD":
                self.wfile.write(reply.body)
            if stated is not None and int(stated) > len(reply.body):
                raise CloseConnection
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in reply.body:
            if chunk:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")
