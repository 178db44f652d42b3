"""The dashboard: its parts fit together, and every query in it is right and finds something in the recorded day."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from opencost_kusto.errors import UsageError
from opencost_kusto.insight import tiles
from opencost_kusto.insight.tiles import DashboardQuery, Tile, slug
from opencost_kusto.window import Window
from tests.kql.conftest import load_day
from tests.kql.database import CLUSTER, Database, Requested
from tests.support.kql_analyser import Analyser, Schema
from tests.support.recordings import recording

DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
DASHBOARD = tiles.document()
TILES = {tile.title: tile for tile in tiles.tiles()}
QUERIES = tiles.queries()
VARIABLES = tiles.values(DAY)


@pytest.fixture(scope="module")
def synced() -> Iterator[Database]:
    """The recorded day, with a run log."""
    with Database() as database:
        load_day(database.install())
        hours = [str(hour.start) for hour in DAY.steps(timedelta(hours=1))]
        ends = [str(hour.end) for hour in DAY.steps(timedelta(hours=1))]
        for dataset in ("allocation", "assets"):
            facts = {"dataset": dataset, "outcome": "landed"}
            bounds = zip(hours, ends, strict=True)
            database.runs(facts | {"batch_id": a, "window_start": a, "window_end": b} for a, b in bounds)
        yield database


@pytest.mark.parametrize("query", QUERIES.values(), ids=lambda query: query.text.split("\n")[1])
def test_query_passes_the_analyser(query: DashboardQuery, analyser: Analyser, schema: Schema) -> None:
    """A query is right by Microsoft's analyser, with every parameter set."""
    assert analyser.check(query.text_for(DAY, CLUSTER), schema=schema) == []


@pytest.mark.parametrize("tile", TILES.values(), ids=lambda tile: slug(tile.title))
def test_tile_has_rows_on_the_recorded_day(tile: Tile, synced: Database) -> None:
    """There is something to draw, of all clusters and of the one; of one that is not there, nothing costs."""
    everything = synced.rows(tile.query.text_for(DAY))
    assert everything
    assert len(synced.rows(tile.query.text_for(DAY, CLUSTER))) == len(everything)
    nothing = synced.rows(tile.query.text_for(DAY, "nowhere"))
    assert nothing == [] or not any(nothing[0].values())


def test_clusters_are_listed(synced: Database) -> None:
    """The cluster parameter offers the clusters that have costs."""
    (used,) = (each["dataSource"]["queryRef"]["queryId"] for each in DASHBOARD["parameters"] if "dataSource" in each)
    assert synced.rows(QUERIES[used].text_for(DAY)) == [{"Cluster": CLUSTER}]


def test_titles_name_files() -> None:
    """No two tiles would be drawn into one file, and a file's name is plain."""
    slugs = [slug(tile.title) for tile in TILES.values()]
    assert len(set(slugs)) == len(slugs) == len(DASHBOARD["tiles"])
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) for slug in slugs)


def test_every_query_is_used_once_and_names_the_variables_it_uses() -> None:
    """Azure Data Explorer refuses a dashboard whose queries are shared, unused, or hide a variable."""
    used = [tile["queryRef"]["queryId"] for tile in DASHBOARD["tiles"]]
    used += [each["dataSource"]["queryRef"]["queryId"] for each in DASHBOARD["parameters"] if "dataSource" in each]
    assert sorted(used) == sorted(QUERIES)
    for query in QUERIES.values():
        assert set(re.findall(r"\b_\w+", query.text)) == set(query.variables) <= VARIABLES.keys()


def test_parameters_are_the_variables() -> None:
    """Time and cluster are parameters of every page."""
    names = [
        each.get(key)
        for each in DASHBOARD["parameters"]
        for key in ("beginVariableName", "endVariableName", "variableName")
    ]
    assert {name for name in names if name} == VARIABLES.keys()
    assert all(each["showOnPages"] == {"kind": "all"} for each in DASHBOARD["parameters"])


def test_ids_are_uuids_that_resolve() -> None:
    """Every id is a UUID of its own; tiles are on pages, and queries use the data source."""
    (source,) = DASHBOARD["dataSources"]
    things = [
        DASHBOARD,
        source,
        *(one for part in ("tiles", "parameters", "pages", "queries") for one in DASHBOARD[part]),
    ]
    ids = [thing["id"] for thing in things]
    assert len({uuid.UUID(each) for each in ids}) == len(ids)
    assert {tile["pageId"] for tile in DASHBOARD["tiles"]} == {page["id"] for page in DASHBOARD["pages"]}
    assert {query["dataSource"]["dataSourceId"] for query in DASHBOARD["queries"]} == {source["id"]}


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


CROSS = {"crossFilter", "crossFilterDisabled", "drillthrough", "drillthroughDisabled"}
RULES = {"colorRules", "colorRulesDisabled", "colorStyle"}
LEGEND = {"hideLegend", "legendLocation", "seriesColumns", "xColumn", "yColumns"}
AXES = LEGEND | CROSS | {"dataPointsTooltip", "multipleYAxes", "selectedDataOnLoad", "verticalLine"}
AXES |= {"xAxisScale", "xColumnTitle"}
PIE = {"labelDisabled", "pie__kind", "pie__label", "pie__orderBy", "pie__tooltip", "pie__topNSlices", "tooltipDisabled"}
# The visuals of a dashboard that was exported from the web UI with this schema, and the options of each: those of
# src/templates/finops-hub/dashboard.json in microsoft/finops-toolkit. One that the web UI lacks fails the whole import.
EXPORTED = {
    "bar": AXES,
    "column": AXES,
    "stackedcolumn": AXES,
    "pie": LEGEND | CROSS | PIE,
    "card": RULES | {"multiStat__textSize", "multiStat__valueColumn"},
    "table": RULES | CROSS | {"table__enableRenderLinks", "table__renderLinks"},
}


@pytest.mark.parametrize("tile", DASHBOARD["tiles"], ids=lambda tile: tile["title"])
def test_a_tile_has_the_options_of_an_exported_one(tile: dict[str, Any]) -> None:
    """Visual and options are those that the web UI writes itself, for the same schema; units stand at the axis."""
    assert DASHBOARD["schema_version"] == "60"
    options = tile["visualOptions"]
    assert options.keys() == EXPORTED[tile["visualType"]]
    if "multipleYAxes" in options:
        assert options["multipleYAxes"]["base"]["label"] == "Cost, in the currency of the cluster"


@pytest.mark.parametrize("query", QUERIES.values(), ids=lambda query: query.text.split("\n")[1])
def test_viewers_share_cached_results(query: DashboardQuery) -> None:
    """Nineteen queries every quarter of an hour, for each viewer: results of the last minutes are reused.

    https://learn.microsoft.com/kusto/query/query-results-cache
    """
    assert query.text.startswith("set query_results_cache_max_age = time(5m);\n")


@pytest.mark.parametrize("tile", DASHBOARD["tiles"], ids=lambda tile: tile["title"])
def test_numbers_are_rounded_and_times_are_first(tile: dict[str, Any], analyser: Analyser, schema: Schema) -> None:
    """A table would show all digits of a number; charts over time have the time first, as Grafana needs it."""
    text = QUERIES[tile["queryRef"]["queryId"]].text_for(DAY, CLUSTER)
    columns = analyser.result_columns(text, schema=schema)
    if tile["visualOptions"].get("xColumn") == "Timestamp":
        assert columns[0] == ("Timestamp", "datetime")
    if tile["visualType"] in ("table", "card"):
        reals = [name for name, kind in columns if kind == "real"]
        assert all(re.search(rf"\b{name} = round\(", text) for name in reals), reals


@pytest.mark.parametrize(
    "tile", [tile for tile in DASHBOARD["tiles"] if "xColumn" in tile["visualOptions"]], ids=lambda tile: tile["title"]
)
def test_the_columns_of_a_chart_are_those_of_its_query(
    tile: dict[str, Any], analyser: Analyser, schema: Schema
) -> None:
    """Axes and series name columns that the query returns; the web UI would draw nothing else."""
    options = tile["visualOptions"]
    query = QUERIES[tile["queryRef"]["queryId"]].text_for(DAY, CLUSTER)
    columns = [name for name, _ in analyser.result_columns(query, schema=schema)]
    drawn = [options["xColumn"], *options["yColumns"], *(options["seriesColumns"] or [])]
    assert sorted(drawn) == sorted(columns)


CARDS = [tile["title"] for tile in DASHBOARD["tiles"] if tile["visualType"] == "card"]
ADDING = ("Cost by team", "Cost of assets by type", "Cost over time by namespace", "Cost of assets over time by type")


@pytest.fixture(scope="module")
def two_currencies() -> Iterator[Database]:
    """An hour of two clusters that cost the same, in euros and in dollars."""
    with Database() as database:
        database.install()
        for cluster, currency in ((CLUSTER, "EUR"), ("other", "USD")):
            database.allocation(recording("1.112", "allocation_hour.json"), Requested(cluster))
            database.assets(recording("1.112", "assets_hour.json"), Requested(cluster))
            known = {"Cluster": cluster, "Currency": currency, "LoggedAt": str(DAY.start)}
            database.insert("OpenCostSyncRuns", [known])
        yield database


@pytest.mark.parametrize("title", [*ADDING, "Cost of unused requests by namespace"])
def test_amounts_of_two_currencies_are_not_added(title: str, two_currencies: Database) -> None:
    """What is added up over clusters has a line for each currency, which stands in its name."""
    sums: dict[str, float] = {}
    for row in two_currencies.rows(TILES[title].query.text_for(DAY)):
        (name,) = (value for value in row.values() if isinstance(value, str))
        money = sum(value for value in row.values() if isinstance(value, float))
        sums[name[-5:]] = sums.get(name[-5:], 0.0) + money
    assert sums.keys() == {"(EUR)", "(USD)"}
    assert sums["(EUR)"] == pytest.approx(sums["(USD)"])


@pytest.mark.parametrize("title", CARDS)
def test_a_card_is_empty_for_two_currencies(title: str, two_currencies: Database) -> None:
    """One number cannot be two amounts: with one cluster it is that cluster's."""
    query = TILES[title].query
    assert two_currencies.rows(query.text_for(DAY)) == [{"Cost": None}]
    (one,) = two_currencies.rows(query.text_for(DAY, CLUSTER))
    assert one["Cost"] is not None


def test_every_tile_has_a_title() -> None:
    """Without options the web UI infers axes and values; a card names the column that it shows."""
    assert all(tile["visualOptions"] for tile in DASHBOARD["tiles"] if tile["visualType"] != "pie")
    cards = [tile for tile in DASHBOARD["tiles"] if tile["visualType"] == "card"]
    assert {tile["visualOptions"]["multiStat__valueColumn"] for tile in cards} == {"Cost"}
    charts = [tile for tile in DASHBOARD["tiles"] if tile["visualType"] in ("bar", "stackedcolumn")]
    assert all(tile["visualOptions"]["xColumn"] for tile in charts)


def test_the_dashboard_of_a_database_is_ready_to_import() -> None:
    """Address and database are in it, and nothing else differs from the file."""
    made = tiles.document_of("https://ingest-shop.westeurope.kusto.windows.net", "Costs of 2026")
    (source,) = made.pop("dataSources")
    assert (source["clusterUri"], source["database"]) == (
        "https://shop.westeurope.kusto.windows.net/",
        "Costs of 2026",
    )
    assert made == {key: value for key, value in DASHBOARD.items() if key != "dataSources"}
    with pytest.raises(UsageError, match="Fabric"):
        tiles.document_of("https://trd-a.z1.kusto.fabric.microsoft.com", "Costs")


def test_missing_hours_are_reported(empty: Database) -> None:
    """Missing hours are counted by reason, from first to last, and the run that failed for them is listed."""
    end = DAY.start + timedelta(hours=3)
    hour = Window(DAY.start, DAY.start + timedelta(hours=1))
    facts = {"batch_id": "b", "dataset": "assets", "outcome": "failed", "reason": "down"}
    empty.runs([facts | {"window_start": str(hour.start), "window_end": str(hour.end)}], Requested())
    window = replace(DAY, end=end)
    rows = empty.rows(TILES["Missing hours, and why"].query.text_for(window))
    found = {
        (row["Dataset"], row["LastReason"]): (row["MissingHours"], row["First"].hour, row["Last"].hour) for row in rows
    }
    assert found == {("assets", None): (2.0, 1, 2), ("assets", "down"): (1.0, 0, 0)}
    (batches,) = empty.rows(TILES["Batches by outcome"].query.text_for(window))
    assert (batches["Outcome"], batches["Batches"], batches["LastReason"]) == ("failed", 1, "down")
