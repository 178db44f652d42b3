"""Inputs that users of such tools have met, made anew after public bug reports: each ends as it must.

A case says by path how OpenCost responds: a status, a body (JSON) or a text, headers, and whether the connection just
ends (`close`) or a gzip trailer is missing.
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.export import export
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.window import Window
from tests.support.raw import RawServer, http, sized

CASES = Path(__file__).parents[1] / "data" / "cases"
BOUNDS = {"start": "2026-11-23T10:00:00Z", "end": "2026-11-23T11:00:00Z"}
HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
RECORD = {"name": "c1/n1/shop/p/app", "properties": {"cluster": "c1"}, "window": BOUNDS, **BOUNDS, "totalCost": 0.5}
HEALTHY: dict[str, Any] = {
    "/clusterInfo": {"body": {"code": 200, "data": {"id": "c1", "name": "c1"}}},
    "/installInfo": {"body": {"version": "1.112.0"}},
    "/allocation": {"body": {"code": 200, "data": [{"c1/n1/shop/p/app": RECORD}]}},
    "/metrics": {"text": "# TYPE a gauge\na 1\n"},
}
# By case: exit codes, and what is said.
ENDS: dict[str, tuple[set[int], str]] = {
    "clusterinfo_data_is_text": ({2, 4}, "another shape"),
    "clusterinfo_id_arm_long": ({0}, ""),
    "clusterinfo_id_blank_ends": ({0}, ""),
    "clusterinfo_id_escape": ({2, 4}, "a control character"),
    "clusterinfo_id_is_object": ({2, 4}, "another shape"),
    "cost_beyond_count": ({4}, ""),
    "key_twice_in_record": ({4}, "'totalCost' twice"),
    "metrics_cut_at_line_end_close": ({4}, "broke off"),
    "metrics_gzip_without_trailer": ({4}, "broke off"),
    "openmetrics": ({0}, ""),
    "other_window_55_minutes": ({4}, "2026-11-23T10:05:00Z,2026-11-23T11:00:00Z instead of"),
    "other_window_hour": ({4}, "2026-11-23T09:00:00Z,2026-11-23T10:00:00Z instead of"),
    "redirect_drops_query": ({3, 4}, "/elsewhere"),
    "redirect_to_login": ({3, 4}, "/oauth2/start"),
}


def response(spec: dict[str, Any]) -> bytes:
    """A response as a case describes it."""
    text, mode = spec.get("text"), spec.get("mode", "length")
    body = (json.dumps(spec.get("body"), ensure_ascii=False) if text is None else text).encode()
    headers = [f"{name}: {value}" for name, value in spec.get("headers", {}).items()]
    if mode.startswith("gzip"):
        body, headers = gzip.compress(body), [*headers, "Content-Encoding: gzip"]
    if mode == "gzip-no-trailer":
        body = body[:-8]
    make = sized if mode in ("length", "gzip") else http
    return make(body, *headers, status=spec.get("status", 200))


def run(name: str) -> tuple[int, str, str, list[dict[str, Any]]]:
    """Exit code, what is said, the source's name and the rows of a dry run against a case."""
    case = HEALTHY | json.loads((CASES / f"{name}.json").read_text("utf-8"))
    missing = {"status": 404, "text": "404 page not found\n"}
    dataset = "metrics" if "metrics" in name else "allocation"
    rows: list[dict[str, Any]] = []
    with (
        RawServer(lambda path: response(case.get(path, missing))) as server,
        OpenCost(server.url, attempts=1, timeout=20) as opencost,
    ):
        try:
            report = export(
                opencost, SyncRequest(HOUR, datasets=(dataset,)), lambda _, line: rows.append(json.loads(line))
            )
        except OpenCostKustoError as error:
            return error.exit_code, str(error), "", rows
    (one,) = report.results
    return report.exit_code, one.reason or "", one.source, rows


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.json")))
def test_a_case_ends_as_it_must(name: str) -> None:
    """The exit code is the kind of what is wrong, in one printable sentence that names it."""
    exit_codes, message = ENDS[name]
    exit_code, reason, _, rows = run(name)
    assert exit_code in exit_codes, reason
    assert message in reason
    assert reason.isprintable()
    assert bool(rows) or exit_code != 0


def test_a_blank_at_the_end_of_an_id_is_no_other_source() -> None:
    """The name of the cluster is the plain one."""
    assert run("clusterinfo_id_blank_ends")[2] == "prod-a"


def test_openmetrics_in_rows() -> None:
    """A counter is a counter, and a time in seconds is of this year."""
    rows = {row["MetricName"]: row for row in run("openmetrics")[3]}
    assert rows["http_requests_total"]["MetricType"] == "counter"
    assert rows["node_total_hourly_cost"]["SampleTime"].startswith("2026-11-23")
