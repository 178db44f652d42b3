"""Refusals of an API server: distinguished from OpenCost's, transient or not, and what each advises.

The texts are those of kube-apiserver 1.36 (tests/data/kubernetes, and registry/core/service/storage/storage.go).
"""

from __future__ import annotations

import json

import pytest

from opencost_kusto.errors import ReasonCode
from opencost_kusto.extract.kubernetes.rights import Right
from opencost_kusto.extract.kubernetes.sentences import explained
from opencost_kusto.extract.kubernetes.status import ApiRefusal, status_of

ENDPOINT = "kube://aks/opencost/opencost:9003"
SERVICE = Right("get", "services/proxy", "opencost", "http:opencost:9003")
PODS = Right("get", "pods/proxy", "kube-system", "http:agent-0:9003")
DENIED = "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'mine' with binding 'b' denied request: no."
HOOK = 'admission webhook "gatekeeper.sh" denied the request: no'
FORBIDDEN = 'services "http:opencost:9003" is forbidden: User "system:serviceaccount:jobs:sync" cannot get resource'
R = ReasonCode


def body(code: int, message: str) -> bytes:
    """A Status as an API server writes it."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return json.dumps(status).encode()


@pytest.mark.parametrize(
    ("code", "message", "right", "reason", "transient", "advice"),
    [
        (401, "Unauthorized", SERVICE, R.UNAUTHORIZED, False, "az aks get-credentials"),
        (403, FORBIDDEN, SERVICE, R.FORBIDDEN, False, f"--endpoint {ENDPOINT} --subject ServiceAccount:jobs:sync"),
        (403, FORBIDDEN.replace("system:serviceaccount:jobs:sync", "A B"), SERVICE, R.FORBIDDEN, False, "'User:A B'"),
        (403, 'pods "agent-0" is forbidden: ', PODS, R.FORBIDDEN, False, "This sign-in has no right to get pods/proxy"),
        (403, DENIED, PODS, R.FORBIDDEN, False, "The admission policy mine denied"),
        (403, HOOK, PODS, R.FORBIDDEN, False, "The admission policy gatekeeper.sh denied"),
        (422, DENIED, PODS, R.FORBIDDEN, False, "in-cluster://"),
        (422, "no", PODS, R.FORBIDDEN, False, "An admission policy denied"),
        (404, 'services "opencost" not found', SERVICE, R.UNREACHABLE, False, "no Service opencost/opencost"),
        (404, 'pods "agent-0" not found', PODS, R.UNREACHABLE, False, "not found"),
        (503, 'no endpoints available for service "opencost"', SERVICE, R.UNAVAILABLE, True, "get pods,service"),
        (503, 'no service port 1 found for service "opencost"', SERVICE, R.REFUSED, False, "has no port 9003"),
        (503, "error trying to reach service: dial tcp", PODS, R.UNAVAILABLE, True, "network policy"),
        (400, "address not allowed", PODS, R.UNAVAILABLE, True, "does not respond"),
        (500, "no preferred addresses found; known addresses: []", PODS, R.UNAVAILABLE, True, "no preferred"),
        (429, "too many requests", PODS, R.THROTTLED, True, "too many requests"),
        (410, "gone", PODS, R.REFUSED, False, "410"),
    ],
)
def test_a_refusal_has_its_advice(
    code: int, message: str, right: Right, reason: ReasonCode, transient: bool, advice: str
) -> None:
    """The reason code, whether the same request may succeed later, and the advice."""
    status = status_of(code, body(code, message))
    assert status is not None
    error = explained(ApiRefusal.of("https://aks/api", status, {"Retry-After": "7"}), right, ENDPOINT)
    assert (error.code, error.transient) == (reason, transient)
    assert error.retry_after == (7 if transient else None)
    assert advice in str(error)


def test_a_field_that_is_null_is_a_field_that_is_missing() -> None:
    """A Status with nulls is still the API server's, with the code of the response."""
    text = (
        b'{"kind":"Status","apiVersion":"v1","metadata":null,"message":null,"reason":null,"details":null,"code":null}'
    )
    status = status_of(403, text)
    assert status is not None
    assert (status.code, status.message, status.reason) == (403, "", "nothing more")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b'{"kind":null,"apiVersion":"v1"}',
        b'{"kind":"Status","apiVersion":"v1","code":"403"}',
        b"not found",
        b"[]",
        b'{"code":404,"message":"words of OpenCost"}',
        b'{"kind":"Status","apiVersion":"v2"}',
        b'{"kind":"Pod","apiVersion":"v1"}',
        b'{"kind":"Status"}',
    ],
)
def test_a_response_of_opencost_is_no_status(text: bytes) -> None:
    """Only a Status of v1 is the API server's."""
    assert status_of(404, text) is None
