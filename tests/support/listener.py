"""What servers made of plain sockets share: they listen on 127.0.0.1, and serve each connection on a thread."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

# Seconds after which a connection that says nothing is given up.
_PATIENCE = 20


class Listener:
    """Listens on a free port while it is used as a context; sockets in `open` are closed at its end."""

    def __init__(self) -> None:
        self.open: set[socket.socket] = set()
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
        for one in list(self.open):
            hang_up(one)

    def serve(self, client: socket.socket) -> None:
        """Serve a connection, which is closed afterwards; an OSError ends it."""
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(_PATIENCE)
            self.open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            self.serve(client)
        hang_up(client)
        client.close()
        self.open.discard(client)


def hang_up(one: socket.socket) -> None:
    """End both directions of a connection, so that whoever waits for it wakes; also of one that speaks TLS."""
    with suppress(OSError):
        socket.socket.shutdown(one, socket.SHUT_RDWR)


def head(client: socket.socket) -> bytes:
    """What arrived up to the end of a request's headers, and perhaps a little more; less where the connection ends."""
    found = b""
    while b"\r\n\r\n" not in found and (more := client.recv(1 << 16)):
        found += more
    return found
