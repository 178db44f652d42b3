"""The causes of network errors, by exception type; and the proxies and certificates of the environment."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from opencost_kusto.address import Address, Proxy, proxy_for
from opencost_kusto.errors import ReasonCode
from opencost_kusto.redact import first_sentence

STOPPED = "The cluster may be stopped: az kusto cluster show --query state."


@dataclass(frozen=True, slots=True)
class Cause:
    """The cause of a missing response: the reason, what to do, and whether another attempt may succeed.

    `stopped`: a cluster that is stopped has this effect, too.
    """

    reason: str
    advice: str
    transient: bool = True
    code: ReasonCode = ReasonCode.UNREACHABLE
    stopped: bool = False


def cause(error: BaseException, uri: str) -> Cause | None:
    """The cause of a network error at an address; None for other errors.

    Types that wrap others come first: a proxy error contains a refused connection.
    """
    chain = list(_chain(error))
    names = {cls.__name__ for each in chain for cls in type(each).__mro__}
    if "CredentialUnavailableError" in names:
        # A credential that is not set up on this machine may have tried an address that only Azure has.
        return None
    if "ProxyError" in names:
        proxy = Environment.of(uri).proxy or "the proxy"
        return Cause(f"{proxy} does not connect", "Check the proxy, or list the host in NO_PROXY.")
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            advice = "Set REQUESTS_CA_BUNDLE to a file with the certificate authority of the cluster or of your proxy."
            return Cause(f"certificate verify failed: {first_sentence(each.verify_message)}", advice, transient=False)
        # A connection that ends in the middle of the handshake is one that was closed.
        if isinstance(each, ssl.SSLError) and not isinstance(each, ssl.SSLEOFError):
            advice = "Check that this port speaks https, and the proxy on the way."
            return Cause(f"TLS failed: {first_sentence(each.reason or str(each))}", advice, transient=False)
    if any(isinstance(each, socket.gaierror) for each in chain):
        return Cause("the name of the host does not resolve (DNS)", "Check the address.", stopped=True)
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        return Cause("connection refused", "Check address and port.", stopped=True)
    if names & {"ConnectTimeout", "ConnectTimeoutError"}:
        return Cause("no connection in time", "Check firewall and private endpoint.", stopped=True)
    if names & {"ReadTimeout", "ReadTimeoutError", "TimeoutError"}:
        return Cause(
            "no response in time", "Run again, and check whether the cluster is overloaded.", code=ReasonCode.TIMED_OUT
        )
    if names & {"ConnectionError", "ServiceRequestError", "ServiceResponseError", "ProtocolError", "HTTPException"}:
        return Cause("the connection was closed", "Check firewall and proxy.", stopped=True)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and every error inside it, each once."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            inside = (getattr(each, name, None) for name in ("reason", "inner", "inner_exception", "exception"))
            waiting += [*inside, *each.args, each.__cause__, each.__context__]


@dataclass(frozen=True, slots=True)
class Environment:
    """The proxy for a host and the certificate authorities, from the environment.

    `proxies` has the proxy by scheme, as `requests` wants it.
    """

    proxy: Proxy | None
    proxies: dict[str, str]
    verify: str | bool

    @classmethod
    def of(cls, uri: str) -> Environment:
        """Read once for each host: `requests` would read them at every request, and the passwords of .netrc too.

        Raises UsageError for a proxy that cannot be used.
        """
        parts = urlsplit(uri)
        proxy = proxy_for(Address(parts.scheme, parts.hostname or "", parts.port), os.environ)
        authorities = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        return cls(proxy, {} if proxy is None else {parts.scheme: proxy.url}, authorities)
