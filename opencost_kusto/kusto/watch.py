"""Record which credential of azure-identity issued a token, and which refused: a chain has this only in its log."""

from __future__ import annotations

from typing import Any

from opencost_kusto.redact import first_sentence


class Watched:
    """A credential of azure-identity, whose members are watched if it is a chain such as DefaultAzureCredential.

    `provider` is the class that issued the last token, empty before the first. AZURE_TOKEN_CREDENTIALS takes the same
    names.
    """

    def __init__(self, credential: Any) -> None:
        self.provider = ""
        self._credential = credential
        self._refusals: dict[str, Exception] = {}
        for member in getattr(credential, "credentials", (credential,)):
            self._watch(member)

    def get_token(self, *scopes: str, **more: Any) -> Any:
        """A token; raises what the credential raises, for a chain with the reason of the member that ended it."""
        from azure.core.exceptions import ClientAuthenticationError

        self._refusals.clear()
        try:
            return self._credential.get_token(*scopes, **more)
        except ClientAuthenticationError as error:
            if not hasattr(self._credential, "credentials") or not self._refusals:
                raise
            raise ClientAuthenticationError(message=self._reason()) from error

    def close(self) -> None:
        """Close the credential's own connections."""
        if close := getattr(self._credential, "close", None):
            close()

    def _watch(self, member: Any) -> None:
        original, name = member.get_token, type(member).__name__

        def get_token(*scopes: str, **more: Any) -> Any:
            try:
                token = original(*scopes, **more)
            except Exception as error:
                self._refusals[name] = error
                raise
            self.provider = name
            return token

        member.get_token = get_token

    def _reason(self) -> str:
        """Why a chain issued no token: a member that is set up and refused, else that none is set up."""
        from azure.identity import CredentialUnavailableError

        name, error = list(self._refusals.items())[-1]
        if not isinstance(error, CredentialUnavailableError):
            return f"{name}: {first_sentence(str(error))}"
        return f"none of its credentials is signed in ({', '.join(self._refusals)})."
