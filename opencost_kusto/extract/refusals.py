"""OpenCost's refusals as errors with a reason code. The one place where the text of OpenCost's errors is read.

It has no error codes: that a window has expired, or that Prometheus was too slow, is only in its message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.extract.headers import retry_after
from opencost_kusto.redact import first_sentence

# Of OpenCost's built-in store, of a window that it does not keep (any more): modules/collector-source, pkg/metric/
# repository.go and, where releases return it, pkg/collector/metricsquerier.go. Later releases return no row instead.
_EXPIRED = re.compile(r"past limit|failed to find MetricCollector|collector returned nil")
# Of Go, when a query of OpenCost to Prometheus took longer than it may.
_SLOW = re.compile(r"context deadline exceeded")

_CODES: dict[int, ReasonCode] = {
    HTTPStatus.UNAUTHORIZED: ReasonCode.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: ReasonCode.FORBIDDEN,
    HTTPStatus.NOT_FOUND: ReasonCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: ReasonCode.TIMED_OUT,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ReasonCode.UNAUTHORIZED,
    HTTPStatus.TOO_EARLY: ReasonCode.UNAVAILABLE,
    HTTPStatus.TOO_MANY_REQUESTS: ReasonCode.THROTTLED,
    HTTPStatus.BAD_GATEWAY: ReasonCode.UNAVAILABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: ReasonCode.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: ReasonCode.UNAVAILABLE,
}
_WAIT_HELPS = {429, 502, 503, 504}
_ONCE_MORE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}


def redirected(where: str, place: str, cure: str) -> OpenCostError:
    """The error for a response that points to another place."""
    return OpenCostError(
        f"{where} redirects to {place}: OpenCost never does, so a proxy or a sign-in page answered, or the address has "
        f"changed. {cure}, or use an address that reaches OpenCost itself as --endpoint.",
        code=ReasonCode.REDIRECTED,
    )


def refusal(where: str, status: int, body: bytes, headers: Mapping[str, str], cure: str = "") -> OpenCostError:
    """A status other than 200 as an error; of a failure it quotes the first sentence of the server's message.

    `cure` is a sentence that follows it.
    """
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return OpenCostError(f"OpenCost responded to {where} with {status}, which is no complete response.")
    message = _message(body)
    sentence = first_sentence(message) or "nothing more"
    code = _CODES.get(status)
    if status == HTTPStatus.NOT_FOUND:
        text = f"{where} is not there (404): is this an OpenCost, with its API enabled? Its message: {sentence}"
        return OpenCostError(text, code=code)
    after = retry_after(headers) if status in _WAIT_HELPS else None
    text = f"OpenCost responded to {where} with {status}: {sentence}{cure and '.'}{cure}"
    if code is None:
        return failure(text, message)
    once = status in _ONCE_MORE
    return OpenCostError(text, code=code, transient=once or status in _WAIT_HELPS, once=once, retry_after=after)


def failure(text: str, message: str) -> OpenCostError:
    """A failure of OpenCost itself, with the code for its message."""
    if _EXPIRED.search(message):
        return OpenCostError(text, code=ReasonCode.EXPIRED)
    slow = bool(_SLOW.search(message))
    return OpenCostError(text, code=ReasonCode.TIMED_OUT if slow else None, transient=slow, once=slow)


def _message(body: bytes) -> str:
    """The message in an error's body; a bad window is a line of text with a JSON document glued to it."""
    text = body.decode("utf-8", "replace")
    try:
        return str(msgspec.json.decode(text, type=dict[str, Any]).get("message") or text)
    except ValueError:
        return text
