"""The Kusto SDK's errors as ours: what happened, while doing what, and whether asking again may help."""

from __future__ import annotations

import re

from opencost_kusto.errors import KustoError
from opencost_kusto.redact import first_sentence

# What Kusto says of a table, function or mapping of ours that it does not have.
_NOT_BOOTSTRAPPED = re.compile(r"(resolve|not found|could not be found|not refer|Unknown function)\b.*\bOpenCost\w")
# Foreign errors by name (nearest class first): what happened, and whether asking again may help.
TRANSLATIONS: dict[str, tuple[str, bool]] = {
    "KustoThrottlingError": ("Kusto at {uri} is throttling", True),
    "KustoNetworkError": ("Kusto at {uri} cannot be reached", True),
    "KustoAuthenticationError": ("Signing in to {uri} failed", False),
    "KustoBlobError": ("Kusto's storage refused the upload", True),
    "KustoQueueError": ("Kusto's queue refused the message", True),
    "KustoMultiApiError": ("Kusto at {uri} refused", False),
    "KustoApiError": ("Kusto at {uri} refused", False),
    "KustoServiceError": ("Kusto at {uri} failed", True),
    "KustoClosedError": ("The connection to {uri} was closed", False),
    "KustoClientInvalidConnectionStringException": ("{uri} is not an address the Kusto SDK trusts", False),
    "KustoMappingError": ("The SDK refused the mapping", False),
    "KustoInvalidEndpointError": ("{uri} is not an ingestion endpoint", False),
    "KustoUnsupportedApiError": ("The SDK cannot do this with {uri}", False),
    "KustoStreamingQueryError": ("Kusto at {uri} answered something unreadable", False),
    "KustoClientError": ("The Kusto SDK failed", False),
    "KustoError": ("The Kusto SDK failed", False),
    "ClientAuthenticationError": ("Signing in to {uri} failed", False),
    "CredentialUnavailableError": ("Signing in to {uri} failed", False),
    "AzureError": ("Azure storage failed", True),
}


def translate(error: Exception, uri: str, what: str) -> KustoError:
    """The SDK's error as ours: what happened, while doing what, and the cause's first sentence without secrets."""
    names = [cls.__name__ for cls in type(error).__mro__]
    template, transient = next(
        (TRANSLATIONS[name] for name in names if name in TRANSLATIONS), ("The Kusto SDK failed at {uri}", False)
    )
    cause = getattr(error, "inner", None) or error.__cause__ or error
    detail = first_sentence(getattr(error, "message_text", None) or getattr(cause, "message", None) or str(cause), 400)
    if "KustoApiError" in names:
        api = error.get_api_error()  # type: ignore[attr-defined]
        transient = api.permanent is False
        detail = first_sentence(api.description or api.message or detail, 400)
    if _NOT_BOOTSTRAPPED.search(detail):
        detail = f"{detail.rstrip('.')}. Run opencost-kusto bootstrap, which makes it"
    return KustoError(f"{template.format(uri=uri)} while {what}: {detail}", transient=transient)
