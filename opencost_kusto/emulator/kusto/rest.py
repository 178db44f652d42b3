"""Kusto's REST protocol over an engine: queries, management commands, and where clients shall upload."""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from duckdb_kql.server import Result, v1_response, v2_response

from opencost_kusto.emulator.http import Reply, Request
from opencost_kusto.emulator.kusto import commands
from opencost_kusto.emulator.kusto.catalog import KustoRefusal
from opencost_kusto.emulator.kusto.engine import Engine, result
from opencost_kusto.emulator.kusto.ingestion import Ingestion
from opencost_kusto.emulator.kusto.storage import Storage

__all__ = ["Engine", "Ingestion", "Rest"]

_ROUTES: Final = {"/v1/rest/mgmt", "/v1/rest/query", "/v2/rest/query"}
_NO_DATABASE: Final = "NetDefaultDB"


class Rest:
    """Engine and data management behind one address."""

    def __init__(self, engine: Engine, storage: Storage) -> None:
        self._engine = engine
        self._storage = storage

    def respond(self, request: Request) -> Reply:
        """Answer a request."""
        if request.path not in _ROUTES:
            return _reply(404, {"error": {"code": "NotFound", "message": f"No route for {request.path}"}})
        if request.method != "POST":
            return _reply(405, {"error": {"code": "MethodNotAllowed", "message": "Only POST is served"}})
        asked = request.headers.get("x-ms-client-request-id") or str(uuid.uuid4())
        try:
            answer = self._run(request.path, json.loads(request.body))
        except KustoRefusal as refused:
            return _refusal(refused)
        except (ValueError, AttributeError, TypeError) as malformed:
            return _refusal(KustoRefusal(f"Request is invalid: {malformed}"))
        return _reply(200, v2_response(answer, asked) if request.path.startswith("/v2/") else v1_response(answer))

    def _run(self, route: str, body: dict[str, Any]) -> Result:
        text, database = str(body.get("csl") or "").strip(), body.get("db")
        if not text:
            raise KustoRefusal("Syntax error: the request has no 'csl' to run")
        if route == "/v1/rest/mgmt":
            words = text.lower().split()
            if words == [".get", "ingestion", "resources"]:
                return self._resources()
            if words == [".get", "kusto", "identity", "token"]:
                return result({"AuthorizationContext": "string"}, [["emulator-identity-token"]])
            if words == [".show", "version"]:
                database = self._engine.database
        if database != self._engine.database:
            raise KustoRefusal(
                f"Entity not found: Database '{database}' could not be found",
                code="BadRequest_EntityNotFound",
                kind="Kusto.Data.Exceptions.EntityNotFoundException",
            )
        if route == "/v1/rest/mgmt":
            return commands.run(self._engine, text)
        if text.startswith("."):
            if not commands.is_show(text):
                raise KustoRefusal("A management command is sent to the management endpoint")
            return commands.run(self._engine, text)
        properties = body.get("properties") or {}
        if isinstance(properties, str):
            # The SDK sends them as JSON inside the JSON.
            properties = json.loads(properties)
        return self._engine.query(text, properties.get("Parameters"))

    def _resources(self) -> Result:
        # A client asks again at every use while any one kind is missing.
        origin = next(iter(self._storage.queues()), "http://127.0.0.1/none?sig=none")
        rows = [["TempStorage", url] for url in self._storage.containers()]
        rows += [["SecuredReadyForAggregationQueue", url] for url in self._storage.queues()]
        rows += [[kind, origin] for kind in ("FailedIngestionsQueue", "SuccessfulIngestionsQueue")]
        rows += [["IngestionsStatusTable", origin]]
        return result({"ResourceTypeName": "string", "StorageRoot": "string"}, rows)


def _reply(status: int, document: Any) -> Reply:
    return Reply(status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(document).encode())


def _refusal(refused: KustoRefusal) -> Reply:
    error = {
        "code": refused.code,
        "message": "Request is invalid and cannot be executed.",
        "@type": refused.kind,
        "@message": str(refused),
        "@permanent": True,
    }
    return _reply(400, {"error": error})
