"""Access to an OpenCost: a sign-in, private certificates, a proxy. Only the names of files are kept.

A secret is read from its file for each request: a token that was renewed is used at once, and none is an argument, a
variable of the environment, or part of a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opencost_kusto.address import Address, Proxy, named_proxy
from opencost_kusto.errors import UsageError
from opencost_kusto.names import shown, variable

TOKEN, HEADER, PROXY = "--opencost-token-file", "--opencost-header", "--opencost-proxy"
CA, CERT, KEY = "--opencost-ca", "--opencost-cert", "--opencost-key"
SCOPE = "--opencost-scope"
_AUTHORIZATION = "authorization"
# Valid names of headers (RFC 9110, section 5.6.2), and those that every request has.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
_LONGEST = 1 << 14


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file that holds a secret and nothing else; `option` named it. Call it to read the file."""

    path: str
    option: str

    def __str__(self) -> str:
        return f"the secret in {self.path} ({self.option})"

    def __call__(self) -> str:
        """The text without the line break at its end; raises UsageError, which never repeats it."""
        subject = f"{variable(self.option)} names {self.path}, which"
        try:
            text = Path(self.path).read_bytes().decode("utf-8", "replace").strip()
        except OSError as error:
            raise UsageError(f"{subject} cannot be read: {error.strerror}.") from error
        if why := unfit(text):
            raise UsageError(f"{subject} {why}.")
        return text


def unfit(secret: str) -> str | None:
    """Why a header cannot hold a secret, without any of it; None if it can."""
    if not secret:
        return "is empty"
    if not secret.isascii():
        return "holds characters that a header cannot"
    if not secret.isprintable() or len(secret) > _LONGEST:
        return f"is not one line of at most {_LONGEST:,} characters"
    return None


@dataclass(frozen=True, slots=True)
class Doors:
    """What requests to one OpenCost need. `token` and the values of `headers` are called for each request.

    `ca`, `cert` and `key` are paths: the certificates to trust instead of those of the environment, and the client's
    own. `proxy` is used instead of that of the environment.
    """

    token: Callable[[], str] | None = None
    headers: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    proxy: Proxy | None = None

    def signed(self) -> dict[str, str]:
        """The headers of one request, as they are now; raises what `token` and the values of `headers` raise."""
        found = {name: read() for name, read in self.headers.items()}
        if self.token is not None:
            found["Authorization"] = f"Bearer {self.token()}"
        return found

    def cure(self) -> str:
        """The advice if the server requires another sign-in, without a full stop."""
        origins = [str(one) for one in (self.token, *self.headers.values()) if one is not None]
        if origins:
            return f"Check {' and '.join(origins)}"
        return f"Sign in with {TOKEN}, {HEADER} or {SCOPE}"

    def check(self, address: Address) -> None:
        """Raise UsageError where these doors and the address of an OpenCost do not fit."""
        named = self.token is not None or any(name.lower() == _AUTHORIZATION for name in self.headers)
        if named and address.credentials is not None:
            raise UsageError(f"{address} has a user name, and its requests a token: leave one of them out.")
        if named and address.scheme == "http" and not address.is_local:
            raise UsageError(
                f"{address} is plain http, which must not carry a token. Use https, or the name of the Service with "
                ".svc in this cluster."
            )
        if self.cert is not None and address.scheme == "http":
            raise UsageError(f"{address} is plain http, which has no client certificate. Use https.")
        # Those of a proxy that is reached by https are checked whatever the address is.
        proxied = self.proxy is not None and self.proxy.address.scheme == "https"
        if self.ca is not None and address.scheme == "http" and not proxied:
            raise UsageError(
                f"{address} is plain http, which {variable(CA)} has no use for. Use https, or leave it out."
            )


def doors(
    *,
    token: Callable[[], str] | None = None,
    token_file: str | None = None,
    header: Sequence[str] = (),
    ca: str | None = None,
    cert: str | None = None,
    key: str | None = None,
    proxy: str | None = None,
) -> Doors:
    """Doors as a user writes them: `header` is NAME=@FILE, `proxy` an address, or @FILE with one.

    `token` is that of --opencost-scope. Raises UsageError for what cannot be used, without repeating a secret.
    """
    if token is not None and token_file is not None:
        raise UsageError(f"Use {variable(TOKEN)} or {variable(SCOPE)}, not both.")
    if key is not None and cert is None:
        raise UsageError(f"{variable(KEY)} needs {CERT}, the certificate of that key.")
    token = SecretFile(token_file, TOKEN) if token_file is not None else token
    headers = _headers(header)
    if token is not None and any(name.lower() == _AUTHORIZATION for name in headers):
        raise UsageError(f"{variable(HEADER)} Authorization and a token exclude each other: leave one of them out.")
    return Doors(token, headers, ca, cert, key, None if proxy is None else _proxy(proxy))


def _headers(pairs: Sequence[str]) -> dict[str, Callable[[], str]]:
    """The headers and the files that hold their values."""
    found: dict[str, Callable[[], str]] = {}
    for pair in pairs:
        name, _, path = pair.partition("=@")
        if not path:
            raise UsageError(f"{variable(HEADER)} is NAME=@FILE: its value stands in a file, not in the option.")
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            raise UsageError(f"{variable(HEADER)} cannot set a header {shown(name)}.")
        if name.lower() in map(str.lower, found):
            raise UsageError(f"{variable(HEADER)} names {name} twice.")
        found[name] = SecretFile(path, HEADER)
    return found


def _proxy(text: str) -> Proxy:
    """The proxy of an option; only in a file it may have credentials."""
    if text.startswith("@"):
        return named_proxy(PROXY, SecretFile(text[1:], PROXY)())
    found = named_proxy(PROXY, text)
    if "@" in text:
        raise UsageError(
            f"{variable(PROXY)} holds a user name, which all can read in the list of processes. Write the address "
            f"into a file, and {PROXY} @FILE."
        )
    return found
