"""The address of an API server and the sign-in of requests, from a kubeconfig or a pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from opencost_kusto.address import Address
from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.extract.doors import Doors, unfit

# Makes, of a scope of Microsoft Entra, a callable that returns a token which has not expired.
Entra = Callable[[str], Callable[[], str]]


@dataclass(frozen=True, slots=True)
class Authorization:
    """The header of that name, read for each request; `str` is its origin."""

    read: Callable[[], str]
    origin: str

    def __call__(self) -> str:
        """The value of the header; raises what `read` raises, and OpenCostError for what no header can hold."""
        header = self.read().strip()
        if why := unfit(header.partition(" ")[2].strip()):
            raise OpenCostError(
                f"Signing in to Kubernetes failed: the value from {self.origin} {why}. Nothing was sent without it.",
                code=ReasonCode.UNAUTHORIZED,
            )
        return header

    def __str__(self) -> str:
        return self.origin


@dataclass(frozen=True, slots=True)
class Access:
    """An API server; the sign-in, certificates and proxy of its requests; the name of its cluster, if one is known.

    `signed_in_by` describes the sign-in in messages. `verify` False accepts every certificate; `server_name` is the
    name that the certificate has to have instead of the server's. `origin` is where all of it stands, `settings` what
    the options of the doors are called there, and `embedded` are those whose content stands there, and not the path of
    a file.
    """

    server: Address
    doors: Doors
    signed_in_by: str
    cluster: str | None = None
    verify: bool = True
    server_name: str | None = None
    origin: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    embedded: frozenset[str] = frozenset()

    def setting(self, option: str) -> str:
        """The setting that corresponds to an option of the doors."""
        return f"{self.settings.get(option, option)} in {self.origin}"
