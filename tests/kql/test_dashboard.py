"""The dashboard: its parts fit together, and every query in it is right and finds something in the recorded day."""

from __future__ import annotations

import json
import re
import uuid
from itertools import combinations
from typing import Any

import pytest

from opencost_kusto import kql
from tests.kql.database import Asked, Database
from tests.kql_analyser import Analyser, Schema

DASHBOARD = json.loads((kql.root() / "dashboard.json").read_text(encoding="utf-8"))
QUERIES = {query["id"]: query for query in DASHBOARD["queries"]}
TITLES = {tile["queryRef"]["queryId"]: tile["title"] for tile in DASHBOARD["tiles"]}
VARIABLES = {"_startTime": "datetime(2026-11-23)", "_endTime": "datetime(2026-11-24)", "_cluster": '""'}
# The recorded day lacks no hour and has no run ledger; with one, the second has a row.
EMPTY_ON_A_GOOD_DAY = {"Missing hours, and why", "Batches by outcome, of the runs in the time range"}


def posed(query: dict[str, Any]) -> str:
    """A query as the dashboard poses it: what its parameters are set to stands before it."""
    lets = (f"let {name} = {value};" for name, value in VARIABLES.items() if name in query["usedVariables"])
    return "\n".join((*lets, query["text"]))


@pytest.mark.parametrize("query", QUERIES.values(), ids=lambda query: TITLES.get(query["id"], "clusters"))
def test_query_passes_the_analyser_and_the_recorded_day_answers_it(
    query: dict[str, Any], analyser: Analyser, schema: Schema, day: Database
) -> None:
    """A tile's query is right by Microsoft's analyser, and has rows to draw."""
    assert analyser.check(posed(query), schema=schema) == []
    rows = day.rows(posed(query))
    assert rows or TITLES[query["id"]] in EMPTY_ON_A_GOOD_DAY


def test_every_query_is_used_once_and_names_the_variables_it_uses() -> None:
    """Azure Data Explorer refuses a dashboard whose queries are shared, unused, or hide a variable."""
    used = [tile["queryRef"]["queryId"] for tile in DASHBOARD["tiles"]]
    used += [each["dataSource"]["queryRef"]["queryId"] for each in DASHBOARD["parameters"] if "dataSource" in each]
    assert sorted(used) == sorted(QUERIES)
    for query in QUERIES.values():
        assert set(re.findall(r"\b_\w+", query["text"])) == set(query["usedVariables"]) <= VARIABLES.keys()


def test_parameters_are_the_variables() -> None:
    """Time and cluster are parameters of every page."""
    names = [
        each.get(key)
        for each in DASHBOARD["parameters"]
        for key in ("beginVariableName", "endVariableName", "variableName")
    ]
    assert {name for name in names if name} == VARIABLES.keys()
    assert all(each["showOnPages"] == {"kind": "all"} for each in DASHBOARD["parameters"])


def test_ids_are_uuids_and_point_to_what_is_there() -> None:
    """Every id is a UUID of its own; tiles are on pages, queries ask the data source."""
    (source,) = DASHBOARD["dataSources"]
    things = [
        DASHBOARD,
        source,
        *(one for part in ("tiles", "parameters", "pages", "queries") for one in DASHBOARD[part]),
    ]
    ids = [thing["id"] for thing in things]
    assert len({uuid.UUID(each) for each in ids}) == len(ids)
    assert {tile["pageId"] for tile in DASHBOARD["tiles"]} == {page["id"] for page in DASHBOARD["pages"]}
    assert {query["dataSource"]["dataSourceId"] for query in QUERIES.values()} == {source["id"]}


def test_tiles_lie_beside_each_other_on_a_grid_of_24_columns() -> None:
    """No tile covers another or leaves the page."""
    for tile in DASHBOARD["tiles"]:
        assert tile["layout"]["x"] + tile["layout"]["width"] <= 24
    for one, other in combinations(DASHBOARD["tiles"], 2):
        a, b = one["layout"], other["layout"]
        apart = (
            a["x"] + a["width"] <= b["x"]
            or b["x"] + b["width"] <= a["x"]
            or a["y"] + a["height"] <= b["y"]
            or b["y"] + b["height"] <= a["y"]
        )
        assert apart or one["pageId"] != other["pageId"]


def test_a_good_days_empty_tiles_are_not_empty_on_a_bad_day(empty: Database) -> None:
    """The tiles about runs and gaps have rows when there were runs and there are gaps."""
    failed = {"batch_id": "b", "dataset": "assets", "outcome": "failed", "window_start": "2026-11-23T00:00:00Z"}
    empty.runs([failed | {"window_end": "2026-11-23T01:00:00Z", "reason": "down"}], Asked())
    for query in QUERIES.values():
        if TITLES.get(query["id"]) in EMPTY_ON_A_GOOD_DAY:
            assert empty.rows(posed(query).replace("datetime(2026-11-24)", "datetime(2026-11-25)"))
