"""How the wire is broken: which request, and what it gets instead of its response."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from opencost_kusto.emulator import CloseConnection, Fault, KustoEmulator, Reply, Request, json_reply
from tests.support.recordings import recording


def once(matches: Callable[[Request], bool], reply: Reply, times: int = 1) -> Fault:
    """A fault for the first requests that match, and none after."""
    left = [times]

    def fault(request: Request) -> Reply | None:
        if left[0] > 0 and matches(request):
            left[0] -= 1
            return reply
        return None

    return fault


def always(matches: Callable[[Request], bool], reply: Reply) -> Fault:
    """A fault for every request that matches."""
    return lambda request: reply if matches(request) else None


def is_upload(request: Request) -> bool:
    """A blob on its way."""
    return request.method == "PUT"


def is_message(request: Request) -> bool:
    """A queue message on its way."""
    return request.method == "POST" and request.path.endswith("/messages")


def is_query(request: Request) -> bool:
    """A query."""
    return request.path.endswith("/rest/query")


def is_count(request: Request) -> bool:
    """The query for what a table holds of batches."""
    return is_query(request) and "summarize Rows = count(), Least" in request.csl


def is_identity(request: Request) -> bool:
    """The command for an identity token."""
    return "identity token" in request.csl


def is_resources(request: Request) -> bool:
    """The command for places to upload to."""
    return "ingestion resources" in request.csl


def storage_refusal(status: int = 403, code: str = "AuthorizationFailure") -> Reply:
    """What Azure storage says when it refuses."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>This request is refused.</Message></Error>'
    return Reply(status, {"Content-Type": "application/xml", "x-ms-error-code": code}, body.encode())


def kusto_refusal(status: int, message: str, *, permanent: bool) -> Reply:
    """What Kusto says when it refuses."""
    printed = {"code": "X", "message": "No.", "@type": "Kusto.X", "@message": message, "@permanent": permanent}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps({"error": printed}).encode())


THROTTLED = kusto_refusal(429, "Too many requests.", permanent=False)
REFUSED = kusto_refusal(403, "Principal 'aadapp=a;b' is not authorized to do this.", permanent=True)
DOWN = Reply(503, {"Content-Type": "text/plain"}, b"The service is unavailable.")


def dying(body: bytes) -> Iterator[bytes]:
    """A response whose server dies in the middle."""
    yield body[: len(body) // 2]
    raise CloseConnection


def shortened(path: str, _: Any) -> Reply | None:
    """Derived from the recorded hour: one namespace less."""
    if path != "/allocation":
        return None
    response = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))
    response["data"][0].popitem()
    return json_reply(json.dumps(response, separators=(",", ":")).encode())


def many(cost: float, rows: int) -> bytes:
    """Made up after the recorded shape, since no recording is so long: a response with so many rows."""
    records = (f'"n{number:06}":{{"name":"n{number:06}","totalCost":{cost}}}' for number in range(rows))
    return f'{{"code":200,"data":[{{{",".join(records)}}}]}}'.encode()


def empty(path: str, _: Any) -> Reply | None:
    """OpenCost no longer has data for the window."""
    return json_reply(b'{"code":200,"data":[{}]}') if path == "/allocation" else None


def down(path: str, _: Any) -> Reply | None:
    """OpenCost's Prometheus is down."""
    return json_reply(recording("1.112", "down_allocation.json"), status=500) if path == "/allocation" else None


def untagged(request: Request) -> Request:
    """A queue message without what makes it land once: the tag check of two that are processed at once sees nothing."""
    found = re.search(rb"<MessageText>(.*?)</MessageText>", request.body)
    assert found
    message = json.loads(base64.b64decode(found[1]))
    message["AdditionalProperties"].pop("ingestIfNotExists")
    text = base64.b64encode(json.dumps(message).encode()).decode()
    body = f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>".encode()
    return replace(request, body=body)


def doubling(kusto: KustoEmulator, times: int = 1) -> Fault:
    """The queue delivers the first messages twice, and both copies are ingested before anybody counts."""
    left = [times]

    def fault(request: Request) -> Reply | None:
        if not is_message(request) or not left[0]:
            return None
        left[0] -= 1
        kusto.respond(untagged(request))
        reply = kusto.respond(untagged(request))
        kusto.wait_idle()
        return reply

    return fault


def partial(reply: Reply, *, permanent: bool) -> Reply:
    """The response to a query, in the middle of which the query failed."""
    assert isinstance(reply.body, bytes)
    frames = json.loads(reply.body)
    printed = {"code": "LimitsExceeded", "message": "It failed.", "@message": "E_LOW_MEMORY_CONDITION"}
    error: dict[str, Any] = {"error": printed | {"@type": "Kusto.X", "@permanent": permanent}}
    for frame in frames:
        if frame["FrameType"] == "DataTable" and frame["TableKind"] == "PrimaryResult":
            frame["Rows"].append({"OneApiErrors": [error]})
        if frame["FrameType"] == "DataSetCompletion":
            frame |= {"HasErrors": True, "OneApiErrors": [error]}
    return reply._replace(body=json.dumps(frames).encode())
