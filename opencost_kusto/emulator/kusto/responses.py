"""What responses look like on the wire: values as Kusto sends them, limits, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from duckdb_kql.server import Result

from opencost_kusto.emulator.http import Reply
from opencost_kusto.emulator.kusto.catalog import KustoRefusal

_MOST_RECORDS: Final = 500_000
_MOST_BYTES: Final = 64 << 20


class PartialFailure(NamedTuple):
    """Why a query fails when part of its response is sent.

    https://learn.microsoft.com/kusto/concepts/partial-query-failures
    """

    message: str
    kind: str
    permanent: bool = False

    @property
    def error(self) -> dict[str, Any]:
        """The error as it stands in a response."""
        return {
            "code": "LimitsExceeded",
            "message": "Request is invalid and cannot be executed.",
            "@type": f"Kusto.Data.Exceptions.{self.kind}",
            "@message": self.message,
            "@permanent": self.permanent,
        }


def low_memory(*, permanent: bool) -> PartialFailure:
    """The failure of a query on a busy cluster."""
    message = (
        "Query execution lacks memory resources to complete (80DA0007): Partial query failure: Low memory condition"
    )
    kind = "KustoServicePartialQueryFailureLowMemoryException"
    return PartialFailure(f"{message} (E_LOW_MEMORY_CONDITION).", kind, permanent=permanent)


def as_sent(found: Result) -> Result:
    """Values as Kusto sends them: a string is never null, and the keys of a bag are in no order to rely on.

    https://learn.microsoft.com/kusto/query/scalar-data-types/null-values and
    https://learn.microsoft.com/kusto/query/scalar-data-types/dynamic
    """
    kinds = [column.kql for column in found.columns]
    if not {"string", "dynamic"} & set(kinds):
        return found
    return Result(
        found.columns, [[_sent(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in found.rows]
    )


def too_large(found: Result, options: Mapping[str, Any]) -> PartialFailure | None:
    """The failure of a response beyond https://learn.microsoft.com/kusto/concepts/query-limits, where they apply."""
    if options.get("notruncation"):
        return None
    records = int(options.get("truncationmaxrecords", _MOST_RECORDS))
    size = int(options.get("truncationmaxsize", _MOST_BYTES))
    if len(found.rows) > records:
        return _too_large(f"record count limit {records}")
    # A response of few rows is not worth measuring, unless the limit was set.
    if len(found.rows) < 1000 and size == _MOST_BYTES:
        return None
    if sum(len(str(value)) for row in found.rows for value in row) > size:
        return _too_large(f"data size limit {size}")
    return None


def refusal(refused: KustoRefusal) -> Reply:
    """An error document."""
    error = {
        "code": refused.code,
        "message": "Request is invalid and cannot be executed."
        if refused.status == 400
        else "Caller is not authorized to perform this action",
        "@type": refused.kind,
        "@message": str(refused),
        "@permanent": True,
    }
    return _reply(refused.status, {"error": error})


def throttled(command: str) -> Reply:
    """https://learn.microsoft.com/kusto/management/capacity-policy, "Management commands throttling"."""
    error = {
        "code": "TooManyRequests",
        "message": "Request is denied due to throttling.",
        "@type": "Kusto.DataNode.Exceptions.ControlCommandThrottledException",
        "@message": "The management command was aborted due to throttling. Retrying after some backoff might succeed. "
        f"CommandType: '{command}', Capacity: 1, Origin: 'CapacityPolicy/Ingestion'",
        "@permanent": False,
    }
    return _reply(429, {"error": error})


def failed_in_response(frames: list[dict[str, Any]], failure: PartialFailure) -> list[dict[str, Any]]:
    """The frames of a response that fails on its way: HTTP 200, some rows, and `OneApiErrors` behind them."""
    for frame in frames:
        if frame.get("TableKind") == "PrimaryResult":
            rows = frame["Rows"]
            frame["Rows"] = [*rows[: len(rows) // 2], {"OneApiErrors": [{"error": failure.error}]}]
        if frame["FrameType"] == "DataSetCompletion":
            frame["HasErrors"] = True
            frame["OneApiErrors"] = [{"error": failure.error}]
    return frames


def _sent(value: Any, kind: str) -> Any:
    if kind == "string":
        return "" if value is None else value
    if kind == "dynamic" and isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return _reversed(json.loads(value))
        except ValueError:
            return value
    return value


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(one) for one in value] if isinstance(value, list) else value


def _too_large(limit: str) -> PartialFailure:
    return PartialFailure(
        "The Kusto DataEngine has failed to execute a query: 'Query result set has exceeded the internal "
        f"{limit} (E_QUERY_RESULT_SET_TOO_LARGE).'",
        "KustoServicePartialQueryFailureLimitsExceededException",
    )


def _reply(status: int, document: Any) -> Reply:
    return Reply(status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(document).encode())
