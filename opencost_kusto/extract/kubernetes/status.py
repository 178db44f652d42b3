"""The refusals of an API server (`kind: Status`), distinguished from those of the OpenCost behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.extract.headers import retry_after
from opencost_kusto.redact import first_sentence

# registry/core/service/storage/storage.go and apimachinery's errors: statuses of one number that differ in kind have
# no other field that says so.
_NO_PORT = re.compile(r"^no service port ")
_NO_ENDPOINTS = re.compile(r"^no endpoints available ")
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)'|admission webhook \"([^\"]+)\"")
_SUBJECT = re.compile(r'\bUser "([^"]+)" cannot ')
_TRANSIENT = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, 504}
_CODES = {
    401: ReasonCode.UNAUTHORIZED,
    403: ReasonCode.FORBIDDEN,
    # Not "not found": that is for a dataset which an OpenCost does not have.
    404: ReasonCode.UNREACHABLE,
    422: ReasonCode.FORBIDDEN,
    429: ReasonCode.THROTTLED,
}


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a Status that are read."""

    kind: str
    api_version: str
    code: int = 0
    message: str = ""

    @property
    def reason(self) -> str:
        """The message, on one line."""
        return first_sentence(self.message, 300) or "nothing more"

    @property
    def policy(self) -> str | None:
        """The admission policy or webhook that denied the request."""
        found = _POLICY.search(self.message)
        return (found[1] or found[2]) if found else None

    @property
    def subject(self) -> str | None:
        """The user that has no right to the request."""
        found = _SUBJECT.search(self.message)
        return found[1] if found else None

    @property
    def no_endpoints(self) -> bool:
        """Whether no pod of a Service is ready."""
        return bool(_NO_ENDPOINTS.match(self.message))

    @property
    def no_port(self) -> bool:
        """Whether a Service has no such port."""
        return bool(_NO_PORT.match(self.message))

    @property
    def denied(self) -> bool:
        """Whether an admission policy denied the request: a CONNECT has nothing else that could be invalid."""
        return self.code == HTTPStatus.UNPROCESSABLE_ENTITY or self.policy is not None

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        if self.code == HTTPStatus.SERVICE_UNAVAILABLE:
            return not self.no_port
        # A pod that has no address yet, a node that has none.
        pending = self.code == HTTPStatus.BAD_REQUEST and self.message == "address not allowed"
        return pending or self.code in _TRANSIENT or self.code == HTTPStatus.INTERNAL_SERVER_ERROR


_DECODER = msgspec.json.Decoder(dict[str, Any])


def status_of(status: int, body: bytes) -> Status | None:
    """The Status in a response that is no 200; None where the response is OpenCost's."""
    try:
        # Go writes null for what is not there; so do proxies that write the Status anew.
        fields = {name: value for name, value in _DECODER.decode(body).items() if value is not None}
        found = msgspec.convert(fields, Status)
    except (ValueError, RecursionError):
        return None
    if found.kind != "Status" or found.api_version != "v1":
        return None
    return found if found.code else msgspec.structs.replace(found, code=status)


class ApiRefusal(OpenCostError):
    """A refusal of the API server itself; `status` says which."""

    def __init__(self, text: str, status: Status, wait: float | None = None) -> None:
        super().__init__(
            text,
            code=_CODES.get(status.code, ReasonCode.UNAVAILABLE if status.transient else ReasonCode.REFUSED),
            transient=status.transient,
            retry_after=wait if status.transient else None,
        )
        self.status = status

    @classmethod
    def of(cls, where: str, status: Status, headers: Mapping[str, str]) -> ApiRefusal:
        """The refusal of a request to an address, in the server's words."""
        text = f"The Kubernetes API refused {where} with {status.code}: {status.reason}"
        return cls(text, status, retry_after(headers))
