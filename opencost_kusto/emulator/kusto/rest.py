"""Kusto's REST protocol over a service: queries, management commands, and where clients shall upload."""

from __future__ import annotations

import json
import time
import uuid
from datetime import timedelta
from typing import Any, Final

from duckdb_kql.server import Result, v1_response, v2_response

from opencost_kusto.emulator.http import CloseConnection, Reply, Request
from opencost_kusto.emulator.kusto import commands, responses
from opencost_kusto.emulator.kusto.access import EMULATOR, ingestion_refusal
from opencost_kusto.emulator.kusto.catalog import KustoRefusal
from opencost_kusto.emulator.kusto.engine import Engine, result
from opencost_kusto.emulator.kusto.landing import TOKEN
from opencost_kusto.emulator.kusto.policies import SECURITY
from opencost_kusto.emulator.kusto.service import Service
from opencost_kusto.emulator.kusto.translation import as_principal, cache_age
from opencost_kusto.emulator.kusto.upkeep import upkeep

_MANAGEMENT: Final = "/v1/rest/mgmt"
_ROUTES: Final = {_MANAGEMENT, "/v1/rest/query", "/v2/rest/query"}


_CONSISTENCIES: Final = (
    *("strongconsistency", "weakconsistency", "weakconsistency_by_query", "weakconsistency_by_database"),
    "weakconsistency_by_session_id",
)


class Rest:
    """Engine and data management behind one address."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._cached: dict[str, tuple[float, Result]] = {}

    def respond(self, request: Request, principal: str = EMULATOR) -> Reply:
        """Respond to a request of a principal; raises CloseConnection where the response gets lost."""
        if request.path not in _ROUTES:
            return _reply(404, {"error": {"code": "NotFound", "message": f"No route for {request.path}"}})
        if request.method != "POST":
            return _reply(405, {"error": {"code": "MethodNotAllowed", "message": "Only POST is served"}})
        if self._service.chances.hit("throttled"):
            return responses.throttled("Query" if "query" in request.path else "Command")
        request_id = request.headers.get("x-ms-client-request-id") or str(uuid.uuid4())
        in_frames = request.path.startswith("/v2/")
        try:
            body = json.loads(request.body)
            found = responses.as_sent(
                self._command(body, principal) if request.path == _MANAGEMENT else self._query(body, principal)
            )
        except KustoRefusal as refused:
            return responses.refusal(refused)
        except (ValueError, AttributeError, TypeError) as malformed:
            return responses.refusal(KustoRefusal(f"Request is invalid: {malformed}"))
        failure = self._failure(found, _options(body)) if in_frames else None
        if failure is not None:
            return _reply(200, responses.failed_in_response(v2_response(found, request_id), failure))
        return _reply(200, v2_response(found, request_id) if in_frames else v1_response(found))

    def _failure(self, found: Result, options: dict[str, Any]) -> responses.PartialFailure | None:
        """What a response fails with on its way."""
        for switch, permanent in (("query_errors", False), ("permanent_query_errors", True)):
            if self._service.chances.hit(switch):
                return responses.low_memory(permanent=permanent)
        return responses.too_large(found, options)

    def _command(self, body: dict[str, Any], principal: str) -> Result:
        text, keywords = _text(body), str(body.get("csl")).lower().split()
        if keywords[:1] == [".get"] and not self._service.may_ingest(principal):
            raise ingestion_refusal(principal)
        if keywords == [".get", "ingestion", "resources"]:
            return self._resources()
        if keywords == [".get", "kusto", "identity", "token"]:
            return result({"AuthorizationContext": "string"}, [[TOKEN + principal]])
        if keywords == [".show", "version"]:
            return commands.run(next(iter(self._service.engines.values())), text)
        engine = self._service.engine(body.get("db"))
        upkeep(engine, self._service.chances)
        found = commands.run(engine, text, principal=principal, capacity=self._service.capacity)
        if not commands.is_show(text) and self._service.chances.hit("unanswered"):
            raise CloseConnection
        return found

    def _query(self, body: dict[str, Any], principal: str) -> Result:
        text, engine = _text(body), self._service.engine(body.get("db"))
        if text.startswith("."):
            # Another endpoint for each: https://learn.microsoft.com/kusto/management
            raise KustoRefusal("A management command is sent to the management endpoint")
        engine.access.reads(principal)
        restricted, secured = (engine.guarded(text, policy) for policy in ("restricted_view_access", SECURITY))
        engine.access.views(principal, restricted)
        text = as_principal(text, principal)
        upkeep(engine, self._service.chances)
        properties = body.get("properties") or {}
        parameters = (json.loads(properties) if isinstance(properties, str) else properties).get("Parameters")
        options = _options(body)
        behaviour = self._service.chances.behaviour
        key = json.dumps([engine.database, text, parameters])
        # The SDK writes a timespan as Python does, 0:00:00.
        age = options.get("query_results_cache_max_age", cache_age(text)[1])
        cached = bool(behaviour.cached_seconds) and not restricted and not secured
        if cached and (age is None or any(digit in str(age) for digit in "123456789")):
            at, found = self._cached.get(key, (float("-inf"), None))
            if found is not None and time.monotonic() - at < behaviour.cached_seconds:
                return found
        found = self._fresh(engine, text, parameters, options)
        if cached:
            self._cached[key] = time.monotonic(), found
        return found

    def _fresh(self, engine: Engine, text: str, parameters: Any, options: dict[str, Any]) -> Result:
        strong = str(options.get("queryconsistency", "")).lower() == "strongconsistency"
        if strong or not self._service.chances.hit("stale_reads"):
            return engine.query(text, parameters)
        ago = timedelta(seconds=self._service.chances.behaviour.stale_seconds)
        return engine.query(text, parameters, as_of=engine.clock() - ago)

    def _resources(self) -> Result:
        storage = self._service.storage
        # A client requests all again at every use while one kind is missing.
        origin = next(iter(storage.queues()), "http://127.0.0.1/none?sig=none")
        rows = [["TempStorage", url] for url in storage.containers()]
        rows += [["SecuredReadyForAggregationQueue", url] for url in storage.queues()]
        rows += [[kind, origin] for kind in ("FailedIngestionsQueue", "SuccessfulIngestionsQueue")]
        rows += [["IngestionsStatusTable", origin]]
        return result({"ResourceTypeName": "string", "StorageRoot": "string"}, rows)


def _text(body: dict[str, Any]) -> str:
    text = str(body.get("csl") or "").strip()
    if not text:
        raise KustoRefusal("Syntax error: the request has no 'csl' to run")
    return text


def _options(body: dict[str, Any]) -> dict[str, Any]:
    """The client request properties, which the SDK sends as JSON inside the JSON."""
    properties = body.get("properties") or {}
    found = json.loads(properties) if isinstance(properties, str) else properties
    options: dict[str, Any] = found.get("Options") or {}
    # https://learn.microsoft.com/kusto/api/rest/request-properties
    if (consistency := options.get("queryconsistency", _CONSISTENCIES[0])) not in _CONSISTENCIES:
        raise KustoRefusal(f"'{consistency}' is not a query consistency")
    return options


def _reply(status: int, document: Any) -> Reply:
    return Reply(status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(document).encode())
