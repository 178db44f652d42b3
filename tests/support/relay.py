"""Two real parts that stand between a client and a server: one that ends TLS, and a forward proxy."""

from __future__ import annotations

import base64
import socket
import ssl
from select import select
from urllib.parse import urlsplit

from tests.support.listener import Listener, head

_CHUNK = 1 << 16


class Relay(Listener):
    """Joins each connection to one of a server."""

    def joined(self, client: socket.socket) -> tuple[socket.socket, socket.socket] | None:
        """The client, and the server it is joined to, once both can talk; None where they are not to."""
        raise NotImplementedError

    def serve(self, client: socket.socket) -> None:
        """Join a connection, and forward both ways until one side ends."""
        pair = self.joined(client)
        if pair is not None:
            self.open |= {*pair}
            with pair[0], pair[1]:
                _join(*pair)
            self.open -= {*pair}


class Counted(Relay):
    """Counts the connections to a server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._port = int(url.rpartition(":")[2])
        self.connections = 0

    def joined(self, client: socket.socket) -> tuple[socket.socket, socket.socket]:
        """Connect to the server."""
        self.connections += 1
        return client, socket.create_connection(("127.0.0.1", self._port))


class TlsFront(Relay):
    """Ends TLS before a server on 127.0.0.1, as an ingress or a sidecar does.

    One that is not polite closes the connection after a failed handshake before its alert can be read.
    """

    def __init__(self, context: ssl.SSLContext, port: int, *, polite: bool = True) -> None:
        super().__init__()
        self._context, self._target, self._polite = context, port, polite

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://localhost:{self.port}"

    def joined(self, client: socket.socket) -> tuple[socket.socket, socket.socket]:
        """Shake hands, and connect to the server."""
        secure = self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        try:
            secure.do_handshake()
        except OSError:
            with secure:
                if self._polite:
                    # A close with a request that nobody has read would take the alert back.
                    secure.settimeout(0.3)
                    socket.socket.recv(secure, _CHUNK)
            raise
        return secure, socket.create_connection(("127.0.0.1", self._target))


class ForwardProxy(Relay):
    """An HTTP proxy that takes CONNECT and absolute addresses; `seen` has the heads of the requests.

    Every host name leads to 127.0.0.1. With `credentials` (`user:password`) it refuses others with 407.
    """

    def __init__(self, credentials: str | None = None) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self._expected = credentials and b"Basic " + base64.b64encode(credentials.encode())

    def joined(self, client: socket.socket) -> tuple[socket.socket, socket.socket] | None:
        """Connect to the host that the request names."""
        request = head(client)
        self.seen.append(request)
        if self._expected and self._expected not in request:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        method, target, _ = request.split(b" ", 2)
        place = urlsplit(target.decode() if method != b"CONNECT" else f"//{target.decode()}")
        server = socket.create_connection(("127.0.0.1", place.port or 80))
        if method == b"CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(request)
        return client, server


def _join(near: socket.socket, far: socket.socket) -> None:
    """Forward bytes both ways until one side ends: on one thread, since a TLS connection has one user at a time."""
    other = {near: far, far: near}
    while ready := select([near, far], [], [], 20)[0]:
        for one in ready:
            data = one.recv(_CHUNK)
            while isinstance(one, ssl.SSLSocket) and one.pending():
                data += one.recv(_CHUNK)
            if not data:
                return
            other[one].sendall(data)
