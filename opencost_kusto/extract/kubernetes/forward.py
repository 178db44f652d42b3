"""Connections into a pod through the API server: port-forward over a WebSocket, one for each connection.

The door to `websocket`, and the second one to `requests`, whose connections these are. The protocol is
v4.channel.k8s.io: a message begins with the number of its channel, 0 for data and 1 for an error, and the first on each
is the port's number. A pod that breaks off is noticed only by a deadline.
"""

from __future__ import annotations

import io
import json
import ssl
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from opencost_kusto.address import Proxy
from opencost_kusto.errors import OpenCostError, UsageError
from opencost_kusto.extract.kubernetes.access import Access
from opencost_kusto.extract.kubernetes.status import ApiRefusal, status_of

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_BUFFER = 1 << 16


class _Tunnel:
    """A socket as `http.client` uses one, over a WebSocket; it reads a message at a time, on no thread of its own."""

    def __init__(self, web: Any) -> None:
        self._web = web
        self._rest = memoryview(b"")
        self._opened: set[int] = set()
        self._files, self._closed = 0, False

    def settimeout(self, seconds: float | None) -> None:
        """Seconds until a read or a write fails."""
        self._web.settimeout(seconds)

    def fileno(self) -> int:
        """The descriptor, to see whether something has arrived."""
        return int(self._web.sock.fileno())

    def sendall(self, data: bytes) -> None:
        """Send bytes to the pod."""
        self._web.send_binary(bytes([_DATA]) + bytes(data))

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """A file that reads what the pod sends, and keeps the connection open until it is closed itself."""
        self._files += 1
        return io.BufferedReader(_Incoming(self), _BUFFER)

    def close(self) -> None:
        """Close the WebSocket, once no file reads from it: `http.client` closes a socket before it reads the end."""
        self._closed = True
        if not self._files:
            with suppress(Exception):
                self._web.close(timeout=1)
            # After the pod's own close, the library leaves the socket open.
            self._web.shutdown()

    def release(self) -> None:
        """A file was closed."""
        self._files -= 1
        if self._closed:
            self.close()

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer with what has arrived; 0 at the end of the connection."""
        while not self._rest:
            message = self._message()
            if message is None:
                return 0
            channel, self._rest = message[0], memoryview(message)[1:]
            if channel not in self._opened:
                self._opened.add(channel)
                self._rest = memoryview(b"")
            elif channel == _ERROR:
                raise ConnectionResetError(bytes(self._rest).decode("utf-8", "replace"))
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def _message(self) -> bytes | None:
        """The next message; None at the end."""
        import websocket

        try:
            code, data = self._web.recv_data()
        except websocket.WebSocketTimeoutException as error:
            raise TimeoutError("timed out") from error
        except websocket.WebSocketConnectionClosedException:
            return None
        return data if code == websocket.ABNF.OPCODE_BINARY and data else None


class _Incoming(io.RawIOBase):
    """What a pod sends, as a raw file."""

    def __init__(self, tunnel: _Tunnel) -> None:
        self._tunnel = tunnel

    def close(self) -> None:
        """Let go of the connection."""
        if not self.closed:
            super().close()
            self._tunnel.release()

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        return self._tunnel.read_into(memoryview(buffer))


class Tunnels(HTTPAdapter):
    """Makes the connections of a session end in a port of a pod. `timeout` (seconds) is for making one.

    Raises ApiRefusal where the API server refuses, and UsageError where the library is not installed.
    """

    def __init__(
        self, access: Access, namespace: str, pod: str, port: int, *, timeout: float, proxy: Proxy | None = None
    ) -> None:
        self.host = f"{pod}.{namespace}.pod"
        self._access, self._timeout, self._proxy = access, timeout, proxy
        self._path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?{urlencode({'ports': port})}"
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Make connections through the API server."""
        super().init_poolmanager(*args, **more)
        connect = self._connect

        class Connection(HTTPConnection):
            def _new_conn(self) -> Any:
                return connect()

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool}

    def _connect(self) -> _Tunnel:
        try:
            import websocket
        except ImportError as error:
            raise UsageError(
                "A port-forward needs the extra kubernetes: pip install '.[kubernetes]' from a clone."
            ) from error
        server = self._access.server
        scheme = "wss" if server.scheme == "https" else "ws"
        url = f"{scheme}{str(server).removeprefix(server.scheme)}{self._path}"
        signed = [f"{name}: {value}" for name, value in self._access.doors.signed().items()]
        try:
            web = websocket.create_connection(
                url,
                timeout=self._timeout,
                header=signed,
                subprotocols=[_PROTOCOL],
                sslopt=self._certificates(),
                skip_utf8_validation=True,
                **self._through(),
            )
        except websocket.WebSocketBadStatusException as error:
            raise self._refused(url, error) from error
        except websocket.WebSocketTimeoutException as error:
            raise TimeoutError("timed out") from error
        except websocket.WebSocketException as error:
            raise ConnectionError(str(error)) from error
        return _Tunnel(web)

    def _certificates(self) -> dict[str, Any]:
        doors = self._access.doors
        options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if self._access.verify else ssl.CERT_NONE}
        if not self._access.verify:
            options["check_hostname"] = False
        elif doors.ca:
            options["ca_certs"] = doors.ca
        if doors.cert:
            options |= {"certfile": doors.cert, "keyfile": doors.key or doors.cert}
        if self._access.server_name:
            options["server_hostname"] = self._access.server_name
        return options

    def _through(self) -> dict[str, Any]:
        proxy = self._proxy
        if proxy is None:
            # Otherwise the library reads the environment's.
            return {"http_no_proxy": ["*"]}
        found: dict[str, Any] = {"http_proxy_host": proxy.address.host, "http_proxy_port": proxy.address.port}
        return {**found, "proxy_type": "http", "http_proxy_auth": proxy.address.credentials}

    def _refused(self, url: str, error: Any) -> OpenCostError:
        """The refusal in a response that is no upgrade."""
        body = error.resp_body or b""
        status = status_of(error.status_code, body if isinstance(body, bytes) else json.dumps(body).encode())
        if status is not None:
            return ApiRefusal.of(url, status, error.resp_headers or {})
        return OpenCostError(f"The Kubernetes API refused a port-forward with {error.status_code}.")
