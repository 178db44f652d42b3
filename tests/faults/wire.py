"""How the wire is broken: which request, and what it gets instead of an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from opencost_kusto.emulator import CloseConnection, Fault, Reply, Request, json_reply
from opencost_kusto.load.spool import ROWS_PER_PART
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
    """A question to the engine."""
    return request.path.endswith("/rest/query")


def is_count(request: Request) -> bool:
    """The question how much of a batch is there."""
    return is_query(request) and "summarize Rows" in request.csl


def is_identity(request: Request) -> bool:
    """The question for an identity token."""
    return "identity token" in request.csl


def is_resources(request: Request) -> bool:
    """The question where to upload."""
    return "ingestion resources" in request.csl


def storage_refusal(status: int = 403, code: str = "AuthorizationFailure") -> Reply:
    """What Azure storage says when it refuses."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>This request is refused.</Message></Error>'
    return Reply(status, {"Content-Type": "application/xml", "x-ms-error-code": code}, body.encode())


def kusto_refusal(status: int, message: str, *, permanent: bool) -> Reply:
    """What Kusto says when it refuses."""
    said = {"code": "X", "message": "No.", "@type": "Kusto.X", "@message": message, "@permanent": permanent}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps({"error": said}).encode())


THROTTLED = kusto_refusal(429, "Too many requests.", permanent=False)
REFUSED = kusto_refusal(400, "Principal is not authorized.", permanent=True)
DOWN = Reply(503, {"Content-Type": "text/plain"}, b"The service is unavailable.")


def dying(body: bytes) -> Iterator[bytes]:
    """An answer whose server dies in the middle."""
    yield body[: len(body) // 2]
    raise CloseConnection


def shortened(path: str, _: Any) -> Reply | None:
    """Derived from the recorded hour: one namespace less."""
    if path != "/allocation":
        return None
    answer = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))
    answer["data"][0].popitem()
    return json_reply(json.dumps(answer, separators=(",", ":")).encode())


def many(cost: float, beyond: int = 10) -> bytes:
    """Made up after the recorded shape, since no recording is so long: an answer with so many rows beyond one part."""
    rows = (f'"n{number:06}":{{"name":"n{number:06}","totalCost":{cost}}}' for number in range(ROWS_PER_PART + beyond))
    return f'{{"code":200,"data":[{{{",".join(rows)}}}]}}'.encode()


def second_upload_fails() -> Fault:
    """Storage takes the first blob and refuses the others."""
    taken = [False]

    def fault(request: Request) -> Reply | None:
        if not is_upload(request):
            return None
        first, taken[0] = not taken[0], True
        return None if first else storage_refusal()

    return fault
