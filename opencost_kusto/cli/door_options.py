"""Options for access to an OpenCost: a sign-in, certificates, a proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from opencost_kusto.cli.options import option
from opencost_kusto.extract.doors import Doors, doors
from opencost_kusto.kusto.bearer import Bearer, bearer
from opencost_kusto.kusto.signin import METHODS

# A section of the help.
ACCESS = "Access to OpenCost"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorOptions:
    """How to reach OpenCost. Secrets are in files, which are read for each request."""

    opencost_token_file: Annotated[
        str | None, option("--opencost-token-file", "File with a bearer token, read for each request.", panel=ACCESS)
    ] = None
    opencost_scope: Annotated[
        str | None,
        option("--opencost-scope", "Get the bearer token from Microsoft Entra: api://APP/.default.", panel=ACCESS),
    ] = None
    opencost_auth: Annotated[
        str,
        option(
            "--opencost-auth",
            f"How to sign in for --opencost-scope, and to AKS without kubelogin: {', '.join(METHODS[:-1])}.",
            panel=ACCESS,
        ),
    ] = "default"
    opencost_header: Annotated[
        list[str] | None,
        option(
            "--opencost-header", "NAME=@FILE: a header of each request, read from a file; repeatable.", panel=ACCESS
        ),
    ] = None
    opencost_ca: Annotated[
        str | None, option("--opencost-ca", "File or folder of the certificates to trust, in PEM.", panel=ACCESS)
    ] = None
    opencost_cert: Annotated[
        str | None, option("--opencost-cert", "File with the client certificate, in PEM.", panel=ACCESS)
    ] = None
    opencost_key: Annotated[
        str | None, option("--opencost-key", "File with its key; left out where it is in the same file.", panel=ACCESS)
    ] = None
    opencost_proxy: Annotated[
        str | None,
        option("--opencost-proxy", "Proxy for OpenCost: its address, or @FILE that holds it.", panel=ACCESS),
    ] = None

    def entra(self, scope: str) -> Bearer:
        """Tokens of Microsoft Entra for a scope, by --opencost-auth."""
        return bearer(scope, self.opencost_auth)  # type: ignore[arg-type]

    def doors(self) -> Doors:
        """The doors; raises UsageError for what cannot be used."""
        scope = self.opencost_scope
        return doors(
            token=self.entra(scope) if scope else None,
            token_file=self.opencost_token_file,
            header=self.opencost_header or (),
            ca=self.opencost_ca,
            cert=self.opencost_cert,
            key=self.opencost_key,
            proxy=self.opencost_proxy,
        )
