"""Addresses of servers and of proxies, parsed once and printed from their parts, so that no password is printed."""

from __future__ import annotations

import importlib.util
import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urljoin, urlsplit

from opencost_kusto.errors import UsageError
from opencost_kusto.names import shown

_IN_CLUSTER = (".svc", ".svc.cluster.local")


@dataclass(frozen=True, slots=True)
class Address:
    """An HTTP address; `str` leaves out the credentials."""

    scheme: str
    host: str
    port: int | None = None
    path: str = ""
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port is None else f':{self.port}'}{self.path}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine or in this Kubernetes cluster, which no proxy can reach."""
        host = self.host.rstrip(".")
        if host == "localhost" or host.endswith((".localhost", *_IN_CLUSTER)):
            return True
        found = _ip(host)
        return found is not None and (found.is_loopback or found.is_unspecified)


def parse(text: str) -> Address:
    """Read the address of an OpenCost; raises UsageError, which repeats nothing that may be a password."""
    found = _parsed(text.strip())
    if found is None or re.search("[?#]", text):
        safe = "What was given (not repeated, since it holds an @ and perhaps a password)"
        quoted = safe if "@" in text else shown(re.split("[?#]", text.strip())[0])
        raise UsageError(f"{quoted} is not the address of an OpenCost; write http://host:9003, and nothing after ?.")
    return found


def _parsed(text: str) -> Address | None:
    """The parts of an http or https address, or None."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not text.isprintable():
        return None
    credentials = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Address(parts.scheme, parts.hostname, port, parts.path.rstrip("/"), credentials)


def target(where: str, location: str) -> str:
    """The target of a redirect without possible secrets: credentials, and what follows the path."""
    try:
        parts = urlsplit(urljoin(where, location))
        return str(Address(parts.scheme, parts.hostname or "", parts.port, parts.path[:120]))
    except ValueError:
        return "an address that is none"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, with its credentials in `url`; `str` names it and its variable or option, without them."""

    url: str = field(repr=False)
    address: Address
    variable: str

    def __str__(self) -> str:
        return f"the proxy {self.address} that {self.variable} names"


def proxy_for(address: Address, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment names for an address; None for local addresses and those of NO_PROXY.

    Raises UsageError for a proxy that cannot be used.
    """
    if address.is_local or _bypassed(address, _value(environment, "no_proxy")[1]):
        return None
    for name in (f"{address.scheme}_proxy", "all_proxy"):
        variable, text = _value(environment, name)
        if text:
            return named_proxy(variable, text)
    return None


def named_proxy(variable: str, text: str) -> Proxy:
    """The proxy that a variable or an option names, by a URL or by host and port alone; raises UsageError."""
    url = text if "://" in text else f"http://{text}"
    scheme, _, rest = url.partition("://")
    if scheme.lower().startswith("socks"):
        if importlib.util.find_spec("socks") is None:
            raise UsageError(f"{variable} names a SOCKS proxy, for which Python needs PySocks: pip install PySocks.")
        found = _parsed(f"http://{rest}")
    else:
        found = _parsed(url)
    if found is None:
        raise UsageError(f"{variable} does not hold the address of a proxy; write http://host:port.")
    return Proxy(url, found, variable)


def _value(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """A variable in lower or upper case, lower case first, and its value."""
    for spelled in (name, name.upper()):
        if text := environment.get(spelled, "").strip():
            return spelled, text
    return name, ""


def _bypassed(address: Address, no_proxy: str) -> bool:
    """Whether NO_PROXY lists a host: by name, by domain, by address or by network, with or without a port."""
    host, ip = address.host.rstrip("."), _ip(address.host)
    for entry in filter(None, (one.strip().lower() for one in no_proxy.split(","))):
        name, _, port = entry.rpartition(":") if re.search(r"[^:]:\d+$", entry) else (entry, "", "")
        if port and int(port) != (address.port or (443 if address.scheme == "https" else 80)):
            continue
        domain = name.lstrip("*").lstrip(".")
        if name == "*" or (domain and (host == domain or host.endswith(f".{domain}"))):
            return True
        if ip is not None and _holds(name, ip):
            return True
    return False


def _holds(network: str, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address lies in a network, written as 10.0.0.0/8 or as one address."""
    try:
        return ip in ipaddress.ip_network(network.strip("[]"), strict=False)
    except ValueError:
        return False


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A host as an IP address, in every spelling that a socket takes (127.1, ::ffff:127.0.0.1); None for a name."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host)) if re.fullmatch(r"[\da-fx.]+", host) else None
        except OSError:
            return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
