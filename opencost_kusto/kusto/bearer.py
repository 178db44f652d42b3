"""Tokens for an OpenCost behind Microsoft Entra, by the sign-in methods of Kusto."""

from __future__ import annotations

from dataclasses import dataclass

from opencost_kusto.errors import OpenCostError, ReasonCode, UsageError
from opencost_kusto.kusto.network import cause
from opencost_kusto.kusto.signin import ADVICE, METHODS, Auth, Credential
from opencost_kusto.redact import first_sentence

# The sign-in service, to find its proxy.
_ENTRA = "https://login.microsoftonline.com"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Tokens of Microsoft Entra for a scope, `api://…/.default`; a call returns one that has not expired."""

    scope: str
    credential: Credential

    def __str__(self) -> str:
        return f"the audience and the roles of the token for {self.scope}"

    def __call__(self) -> str:
        """The token; raises OpenCostError if signing in fails."""
        from azure.core.exceptions import AzureError

        try:
            return str(self.credential.get_token(self.scope).token)
        except AzureError as error:
            failed = f"Signing in for {self.scope} failed"
            if network := cause(error, _ENTRA):
                text = f"{failed}: {network.reason}. {network.advice}"
                raise OpenCostError(text, code=network.code, transient=network.transient) from error
            text = f"{failed}: {first_sentence(str(error)).rstrip('.')}. {ADVICE[self.credential.auth]}"
            raise OpenCostError(text, code=ReasonCode.UNAUTHORIZED) from error


def bearer(scope: str, auth: Auth) -> Bearer:
    """Tokens for an OpenCost behind Microsoft Entra; raises UsageError for a method that cannot be used."""
    if auth not in METHODS[:-1]:
        raise UsageError(f"--opencost-auth {auth} is unknown; choose one of {', '.join(METHODS[:-1])}.")
    return Bearer(scope, Credential(auth))
