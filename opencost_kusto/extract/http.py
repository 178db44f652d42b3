"""One OpenCost over HTTP: a GET, and the bytes of its response. The door to `requests`.

Nothing of the environment counts but proxies and certificates: no `.netrc`, no redirect. A body that comes to its end
without an error is complete, or says that its framing does not prove that.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from http import HTTPStatus
from http.client import BadStatusLine
from typing import Any

import requests

from opencost_kusto.address import Address, proxy_for, target
from opencost_kusto.blocks import blocks
from opencost_kusto.errors import OpenCostError, OpenCostKustoError, ReasonCode
from opencost_kusto.extract.causes import innermost, reason
from opencost_kusto.extract.doors import Doors
from opencost_kusto.extract.framing import broken_off, counted, decompressed, is_compressed
from opencost_kusto.extract.headers import date
from opencost_kusto.extract.refusals import redirected, refusal
from opencost_kusto.extract.tls import Certificates, Naming, certificates
from opencost_kusto.retry import within

_CHUNK = 1 << 16
# Bytes of a body that are read together: servers and proxies send chunks of 2 KB, 4 KB or 32 KB. The more records are
# decoded together the faster, as long as they stay in the processor's cache.
_BLOCK = 1 << 17
_SIGN_IN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class Body:
    """The plain bytes of a 200 response, in chunks; raises OpenCostError or ContentError while it is read.

    `framed` says that an end without an error proves that it is complete: a length, chunks or compression state where
    it ends. Otherwise the connection just ended, and only the format shows whether the response is complete.
    """

    def __init__(self, route: HttpRoute, response: requests.Response, where: str, deadline: float) -> None:
        self._route, self._response, self._where, self._deadline = route, response, where, deadline
        headers = response.headers
        length = None if response.raw.chunked else headers.get("Content-Length")
        self._length = int(length) if length and length.isascii() and length.isdigit() else None
        self._compressed = is_compressed(headers.get("Content-Encoding", "").strip().lower())
        self.framed = self._compressed or self._length is not None or response.raw.chunked
        self.content_type = headers.get("Content-Type", "").lower()
        # urllib3 only reads: it would not notice a missing end of a compression.
        response.raw.headers.pop("Content-Encoding", None)

    def __iter__(self) -> Iterator[bytes]:
        chunks = counted(self._read(), self._length)
        with self:
            yield from blocks(decompressed(chunks) if self._compressed else chunks, _BLOCK)

    def _read(self) -> Iterator[bytes]:
        """The bytes as sent, before the deadline."""
        with self._route.translated(self._where, reading=True):
            for chunk in self._response.iter_content(_CHUNK):
                if time.monotonic() > self._deadline:
                    raise self._route.late(self._where)
                yield chunk

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()


class _Signed(requests.auth.AuthBase):
    """Sets the headers of the doors, read anew for each request, and the credentials of the address."""

    def __init__(self, doors: Doors, credentials: tuple[str, str] | None) -> None:
        self._doors = doors
        self._basic = requests.auth.HTTPBasicAuth(*(one.encode() for one in credentials)) if credentials else None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._doors.signed())
        return self._basic(request) if self._basic else request


class _Session(requests.Session):
    """Follows no redirect, and does not read where one points: that may be no address."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        """Nothing."""
        return iter(())


class HttpRoute:
    """The way to one OpenCost. `connect_timeout` and `timeout` are seconds, for connecting and for a whole response.

    `server_date` is the `Date` of the last response, by OpenCost's clock. Raises UsageError for doors,
    proxies and certificates that cannot be used. `server`, `named` and `hint` are what messages call the server, what
    they call its address, and what they advise where it cannot be reached.
    """

    # What a user sets instead of the options of the doors, in messages.
    _naming = Naming()
    cluster: str | None = None
    taken: str | None = None
    server = "OpenCost"
    hint = ". Is it running, and is the port forwarded?"

    def __init__(
        self,
        address: Address,
        *,
        connect_timeout: float,
        timeout: float,
        doors: Doors | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        doors = doors or Doors()
        doors.check(address)
        self.address, self._doors = address, doors
        self.named = str(address)
        self.timeout = timeout
        self.server_date: datetime | None = None
        self._connect_timeout = connect_timeout
        self._proxy = doors.proxy or proxy_for(address, environment)
        self._certificates = (
            certificates(doors, environment, self._naming) if address.scheme == "https" else Certificates()
        )
        self._session = _Session()
        self._session.trust_env = False
        self._session.auth = _Signed(doors, address.credentials)
        self._session.headers["Accept-Encoding"] = "gzip"
        self._session.verify = self._certificates.authorities or True
        self._session.cert = self._certificates.client
        if self._proxy is not None:
            self._session.proxies = {address.scheme: self._proxy.url}

    def fingerprint(self) -> dict[str, str]:
        """None: only OpenCost itself reports its cluster."""
        return {}

    def hops(self) -> tuple[()]:
        """No hop precedes OpenCost."""
        return ()

    def close(self) -> None:
        """Release the connections."""
        self._session.close()

    def get(self, path: str, query: Mapping[str, str]) -> Body:
        """The body of a 200 response; raises OpenCostError, ContentError. The deadline is for request and body."""
        where = f"{self.named}{path}"
        deadline = time.monotonic() + self.timeout

        def request() -> requests.Response:
            timeouts = (self._connect_timeout, self.timeout)
            return self._session.get(
                f"{self.address}{path}", params=query, stream=True, timeout=timeouts, allow_redirects=False
            )

        with self.translated(where):
            response = within(self._connect_timeout + self.timeout, request, lambda: self.late(where))
        self.server_date = date(response.headers.get("Date")) or self.server_date
        try:
            if response.status_code != HTTPStatus.OK:
                raise self._refused(response, where, deadline)
            return Body(self, response, where, deadline)
        except BaseException:
            response.close()
            raise

    def _refused(self, response: requests.Response, where: str, deadline: float) -> OpenCostError:
        """The error for a response that is no 200."""
        status, location = response.status_code, response.headers.get("Location")
        if location and HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return redirected(where, target(where, location), self._doors.cure())
        body = b""
        # A refusal whose body is broken is still a refusal.
        with suppress(OpenCostKustoError), Body(self, response, where, deadline) as chunks:
            for chunk in chunks:
                body += chunk
                if len(body) >= _CHUNK:
                    break
        return self._refusal(where, status, body, response.headers)

    def _refusal(self, where: str, status: int, body: bytes, headers: Mapping[str, str]) -> OpenCostError:
        """The error for a status and a body that is no 200."""
        cure = f" {self._doors.cure()}." if status in _SIGN_IN else ""
        if self._proxy is not None and self.address.scheme == "http":
            cure += f" The response may be that of {self._proxy}."
        return refusal(where, status, body, headers, cure)

    def late(self, where: str) -> OpenCostError:
        """The error for a response that did not arrive in time."""
        text = f"{self.server} did not respond to {where} within {self.timeout:g} s; try a smaller --step."
        return OpenCostError(text, code=ReasonCode.TIMED_OUT)

    @contextmanager
    def translated(self, where: str, *, reading: bool = False) -> Iterator[None]:
        """Turn the errors of `requests` and of the system into ours."""
        begun = time.monotonic()
        try:
            yield
        except requests.exceptions.ChunkedEncodingError as error:
            raise broken_off(reason(error)) from error
        except requests.exceptions.SSLError as error:
            raise self._tls(where, error) from error
        except requests.ConnectTimeout as error:
            text = f"{self.server} at {where}{self._through()} did not accept a connection in time."
            raise OpenCostError(text, code=ReasonCode.TIMED_OUT, transient=True) from error
        except requests.Timeout as error:
            if self.address.scheme == "https" and time.monotonic() - begun < self.timeout:
                raise self._tls(where, error) from error
            raise self.late(where) from error
        except OSError as error:
            # Within a body, requests has no other error for a read that timed out.
            raise self.late(where) if reading else self._unreachable(where, error) from error
        except ValueError as error:
            # A host that DNS has no spelling for.
            raise self._unreachable(where, error) from error

    def _unreachable(self, where: str, error: Exception) -> OpenCostError:
        cause = innermost(error)
        more = ""
        if self._proxy is not None:
            more = " Check the proxy too, or list the host in NO_PROXY."
            if self._doors.proxy is not None:
                more = " Check the proxy too."
        elif self.address.scheme == "http" and isinstance(cause, (ConnectionResetError, BadStatusLine)):
            more = " If it is https, write https://."
        if self.address.scheme == "https":
            more += self._certificates.perhaps(cause)
        at = f"{self.server} at {where}{self._through()}"
        text = f"{at} cannot be reached: {reason(error)}{self.hint}{more}"
        transient = isinstance(error, requests.ConnectionError)
        return OpenCostError(text, code=ReasonCode.UNREACHABLE, transient=transient)

    def _tls(self, where: str, error: OSError) -> OpenCostError:
        cause = innermost(error)
        why, hint = reason(error), "Is it http?"
        if isinstance(cause, ssl.SSLError):
            why, hint = self._certificates.why(cause)
        text = f"TLS with {self.server} at {where}{self._through()} failed: {why}. {hint}"
        return OpenCostError(text, code=ReasonCode.TLS)

    def _through(self) -> str:
        return "" if self._proxy is None else f", through {self._proxy},"
