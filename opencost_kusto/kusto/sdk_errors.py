"""Translate the errors of the Kusto SDK and of Azure storage: what failed, why, what to do, and the reason code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto import rights
from opencost_kusto.kusto.network import STOPPED, cause
from opencost_kusto.redact import first_sentence

# Kusto's messages for a missing table, function or mapping; no field of the error names it.
_NOT_BOOTSTRAPPED = re.compile(
    r"(resolve|not found|could not be found|not refer|Unknown function)\b.*\bOpenCost\w"
    r"|Entity ID 'OpenCost\w+' of kind '\w+' was not found"
)
# Its messages for a missing database; the SDK replaces that of a 404.
_NO_DATABASE = re.compile(r"of kind 'Database' (was not found|does not exist)|Database '[^']*' could not be found")
_PRINCIPAL = re.compile(r"Principal '([^']+)'")
_SENTENCE = 400

R = ReasonCode
# Errors of the libraries by class name (nearest first): what failed, the reason code, and whether a retry may succeed.
TRANSLATIONS: dict[str, tuple[str, ReasonCode, bool]] = {
    "KustoThrottlingError": ("Kusto at {uri} throttled {what}", R.THROTTLED, True),
    "KustoNetworkError": ("Kusto at {uri} cannot be reached", R.UNREACHABLE, True),
    "KustoAuthenticationError": ("Signing in to {uri} failed", R.UNAUTHORIZED, False),
    "KustoBlobError": ("Kusto's storage refused {what}", R.REFUSED, True),
    "KustoQueueError": ("Kusto's queue refused {what}", R.REFUSED, True),
    "KustoMultiApiError": ("Kusto at {uri} refused {what}", R.REFUSED, False),
    "KustoApiError": ("Kusto at {uri} refused {what}", R.REFUSED, False),
    "KustoServiceError": ("Kusto at {uri} failed at {what}", R.UNAVAILABLE, True),
    "KustoClosedError": ("The connection to {uri} was closed", R.UNREACHABLE, False),
    "KustoClientInvalidConnectionStringException": ("{uri} is not an address the Kusto SDK trusts", R.REFUSED, False),
    "KustoMappingError": ("The Kusto SDK refused the mapping", R.REFUSED, False),
    "KustoInvalidEndpointError": ("{uri} is not an ingestion endpoint", R.REFUSED, False),
    "KustoUnsupportedApiError": ("The Kusto SDK cannot do this with {uri}", R.REFUSED, False),
    "KustoStreamingQueryError": ("The response of Kusto at {uri} cannot be read", R.MALFORMED, False),
    "KustoClientError": ("The Kusto SDK failed at {what}", R.REFUSED, False),
    "KustoError": ("The Kusto SDK failed at {what}", R.REFUSED, False),
    "ClientAuthenticationError": ("Signing in to {uri} failed", R.UNAUTHORIZED, False),
    "CredentialUnavailableError": ("Signing in to {uri} failed", R.UNAUTHORIZED, False),
    "AzureError": ("Azure storage refused {what}", R.REFUSED, True),
}
_STATUS: dict[int, ReasonCode] = {401: R.UNAUTHORIZED, 403: R.FORBIDDEN, 404: R.NOT_FOUND, 429: R.THROTTLED}
_SIGN_IN = {"KustoAuthenticationError", "ClientAuthenticationError", "CredentialUnavailableError"}
_STORAGE = "The cluster chooses this address: allow it in firewall, proxy and DNS."
_AUTHORITY = "Check DNS, firewall and proxy for its address, such as login.microsoftonline.com."


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange with a service: its address, its purpose (`the query T …`), and its request id.

    `text` is the complete statement; `advice` is what to do when signing in fails. `storage` names the service
    (`Kusto's queue`) if it is not Kusto itself: its 403 is about a signed address, not about the identity. `creates`:
    the object of a command does not exist yet.
    """

    uri: str
    what: str
    database: str = ""
    text: str = ""
    request_id: str = ""
    advice: str = ""
    storage: str = ""
    creates: bool = False


def translate(error: Exception, exchange: Exchange) -> KustoError:
    """The error as a KustoError, with the first sentence of its cause, without secrets."""
    names = [cls.__name__ for cls in type(error).__mro__]
    default = ("The Kusto SDK failed at {what}", R.REFUSED, False)
    template, code, transient = next((TRANSLATIONS[name] for name in names if name in TRANSLATIONS), default)
    if exchange.storage:
        template, code, transient = f"{exchange.storage} refused {{what}}", R.REFUSED, True
    status = status_of(error)
    if status is None and (network := cause(error, exchange.uri)) is not None:
        server = f"{exchange.storage}, for {exchange.what}," if exchange.storage else f"Kusto at {exchange.uri}"
        advice = f"{network.advice} {STOPPED}" if network.stopped and not exchange.storage else network.advice
        if exchange.storage and network.stopped:
            advice = _STORAGE
        if set(names) & _SIGN_IN:
            server = f"Signing in to {exchange.uri} failed: the sign-in service"
            advice = _AUTHORITY if network.stopped else network.advice
        text = f"{server} cannot be reached: {network.reason}. {advice}"
        return KustoError(text, code=network.code, transient=network.transient, cure=advice)
    detail, permanent, activity = _details(error)
    if permanent is not None:
        transient = not permanent
    if status in _STATUS and not exchange.storage:
        code, transient = _STATUS[status], status == 429
    if _NO_DATABASE.search(detail):
        code, transient = R.NOT_FOUND, False
    elif _NOT_BOOTSTRAPPED.search(detail):
        code, transient = R.NOT_BOOTSTRAPPED, False
    failed = f"{template.format(uri=exchange.uri, what=exchange.what)}: {detail.rstrip('.')}."
    advice, cure = _advice(code, detail, names, exchange)
    if permanent is None and status is not None and status < 400 and not exchange.storage:
        advice = cure = "This is no response of Kusto: check the address, and any proxy or gateway before it."
    parts = (failed, advice, _ids(exchange, activity))
    return KustoError(" ".join(part for part in parts if part), code=code, transient=transient, cure=cure)


def status_of(error: Any) -> int | None:
    """The HTTP status of the response in the error; None without a response."""
    for each in (error, getattr(error, "inner", None), error.__cause__):
        # A `requests` response with an error status is falsy.
        holders = (getattr(each, "http_response", None), getattr(each, "response", None), each)
        for status in (getattr(holder, "status_code", None) for holder in holders):
            if isinstance(status, int):
                return status
    return None


def _details(error: Any) -> tuple[str, bool | None, str]:
    """The first sentence of the cause, whether Kusto marks it permanent, and the ActivityId."""
    apis: list[Any] = []
    if hasattr(error, "get_api_error"):
        apis = [error.get_api_error()]
    elif hasattr(error, "get_api_errors"):
        apis = error.get_api_errors()
    response = getattr(error, "http_response", None)
    activity = str(getattr(response, "headers", {}).get("x-ms-activity-id") or "")
    if not apis:
        inner = getattr(error, "exception", None) or getattr(error, "inner", None) or error
        message = getattr(inner, "message_text", None) or getattr(inner, "message", None)
        if isinstance(inner, OSError) and inner.filename:
            message = f"{inner.strerror}: {inner.filename}"
        text = message or next((each for each in inner.args if isinstance(each, str)), "") or str(inner)
        return first_sentence(str(text) or type(inner).__name__, _SENTENCE), None, activity
    for api in apis:
        activity = activity or str((api.context or {}).get("activityId") or "")
    text = apis[0].description or apis[0].message or str(error)
    # If one part of a distributed query may be retried, so may the query.
    permanent = not any(api.permanent is False for api in apis)
    return first_sentence(text, _SENTENCE), permanent, activity


def _advice(code: ReasonCode, detail: str, names: list[str], exchange: Exchange) -> tuple[str, str]:
    """The sentence with what resolves the error, if known, and the commands in it."""
    if code is R.NOT_BOOTSTRAPPED:
        return "Run opencost-kusto bootstrap, which creates it.", "opencost-kusto bootstrap"
    if code is R.NOT_FOUND and exchange.database:
        return "Check address and database: .show databases lists the names of this cluster.", ".show databases"
    if code is R.UNAUTHORIZED:
        tenant = "The token is not accepted, as one of another tenant: check --auth and AZURE_TENANT_ID."
        advice = exchange.advice if set(names) & _SIGN_IN and exchange.advice else tenant
        return advice, advice
    if code is R.FORBIDDEN and exchange.database:
        needed = rights.right(exchange.text or ".ingest inline")
        found = _PRINCIPAL.search(detail)
        lines = needed.grants(exchange.database, found[1] if found else rights.ANY_PRINCIPAL, creates=exchange.creates)
        each = ", and for tables with restricted view access: ".join(lines)
        return f"It needs {needed.least}; an administrator of the database runs: {each}", "\n".join(lines)
    if "KustoClientInvalidConnectionStringException" in names:
        return "If it is yours, name it with --trusted-host.", "--trusted-host"
    return "", ""


def _ids(exchange: Exchange, activity: str) -> str:
    """The ids that Microsoft's support requires."""
    ids = (
        f"ActivityId {activity}" if activity else "",
        f"request {exchange.request_id}" if exchange.request_id else "",
    )
    return f"({', '.join(each for each in ids if each)})" if any(ids) else ""
