"""Each option is declared once: its names, its query, what it keeps and its part in the id of a batch follow."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.query import parameters
from opencost_kusto.schema.options import Option, OptionValue, RecordFilter, as_is, one_of, true_or_unset, unsent
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, DATASETS, METRICS, OPTIONS, SYNC_RUNS, TABLES
from opencost_kusto.window import Window

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
WINDOW = {"window": "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"}


@pytest.mark.parametrize(
    ("name", "field", "flag"),
    [
        ("aggregate", "aggregate", "--aggregate"),
        ("includeIdle", "include_idle", "--include-idle"),
        ("accumulateByDay", "accumulate_by_day", "--accumulate-by-day"),
    ],
)
def test_the_names_of_an_option_follow_from_opencosts(name: str, field: str, flag: str) -> None:
    """OpenCost's camelCase gives the name in Python and on the command line."""
    option = Option(name, "An option.", default=False)
    assert (option.field, option.flag) == (field, flag)


def test_options_are_declared_once() -> None:
    """An option of one name is one declaration, and what an option needs is a switch of its own dataset."""
    declared = [(table, option) for table in TABLES for option in table.options]
    once = {id(option): option for _, option in declared}.values()
    assert set(Counter(option.field for option in once).values()) == {1}
    for table, option in declared:
        assert OPTIONS[option.field] is option
        assert option.needs is None or {one.default for one in table.options if one.name == option.needs} == {False}
        assert option.doc.endswith((".", "…"))


@pytest.mark.parametrize(
    ("dataset", "given", "query"),
    [
        ("allocation", {}, WINDOW),
        (
            "allocation",
            {"aggregate": "namespace,label:app.kubernetes.io/name"},
            {"aggregate": "namespace,label:app_kubernetes_io_name"},
        ),
        ("allocation", {"aggregate": "container"}, {}),
        ("allocation", {"include_idle": True}, {"includeIdle": "true"}),
        ("allocation", {"include_idle": False}, {}),
        ("allocation", {"include_idle": True, "share_idle": True}, {"includeIdle": "true", "shareIdle": "true"}),
        ("allocation", {"filter_types": ("disk",), "all_metrics": True}, {}),
        ("assets", {"filter_types": ("disk", "node")}, {}),
        ("assets", {"all_clusters": True}, {}),
        ("assets", {"include_idle": True}, {}),
    ],
)
def test_the_query_has_what_opencost_understands(
    dataset: str, given: dict[str, OptionValue], query: dict[str, str]
) -> None:
    """A dataset's own options are in the query, in OpenCost's spelling, where they differ from its defaults."""
    assert parameters(Batch(DATASETS[dataset], "prod", HOUR, RequestOptions(**given))) == {**WINDOW, **query}


def test_a_scrape_has_no_query() -> None:
    """/metrics takes no parameters, not even a window."""
    assert parameters(Batch(DATASETS["metrics"], "prod", HOUR, RequestOptions(all_metrics=True))) == {}


@pytest.mark.parametrize(
    ("values", "text", "kept"),
    [((), "Node", True), (("disk", "node"), "Node", True), (("disk",), "Node", False), (("disk",), "", False)],
)
def test_one_of_some_texts(values: tuple[str, ...], text: str, kept: bool) -> None:
    """A filter by texts keeps what is one of them in any case, and everything where there are none."""
    assert one_of(values, text) is kept


@pytest.mark.parametrize(
    ("family", "every", "kept"),
    [
        ("node_cpu_hourly_cost", False, True),
        ("go_gc_duration_seconds", False, False),
        ("process_cpu_seconds", False, False),
        ("promhttp_metric_handler_requests", False, False),
        ("go_gc_duration_seconds", True, True),
        ("gopher_cost", False, True),
    ],
)
def test_metrics_about_opencosts_process_are_left_out(family: str, every: bool, kept: bool) -> None:
    """Families about the process are kept on request only; the others always."""
    found = OPTIONS["all_metrics"].keeps
    assert isinstance(found, RecordFilter)
    assert (found.key, found.keeps(every, family)) == ("family", kept)


def test_the_ways_of_a_value() -> None:
    """A text is unchanged, a switch that is on is `true`, and an option that OpenCost does not have is not sent."""
    assert as_is("a b") == "a b"
    assert (true_or_unset(True), true_or_unset(False)) == ("true", None)
    assert (unsent(True), unsent("a")) == (None, None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"aggregate": "container", "include_idle": False, "filter_types": ()}),
        ({"include_idle": True, "aggregate": "pod"}, {"aggregate": "pod", "include_idle": True}),
    ],
)
def test_equal_requests_are_equal(one: dict[str, OptionValue], other: dict[str, OptionValue]) -> None:
    """Defaults may be left out and the order does not matter; the options hash and are read back from JSON alike."""
    first, second = RequestOptions(**one), RequestOptions(**other)
    assert (first, hash(first)) == (second, hash(second))
    assert msgspec.json.decode(msgspec.json.encode(first), type=RequestOptions) == second


def test_options_of_a_table_are_those_it_declares() -> None:
    """A table takes its own options from a request, by OpenCost's names and in declared order, defaults included."""
    options = RequestOptions(share_idle=True, filter_types=("disk",))
    assert [list(options.for_table(table).items()) for table in (ALLOCATION, ASSETS, METRICS, SYNC_RUNS)] == [
        [("aggregate", "container"), ("includeIdle", False), ("shareIdle", True), ("allClusters", False)],
        [("filterTypes", ("disk",)), ("allClusters", False)],
        [("allMetrics", False)],
        [],
    ]


def test_an_option_that_no_dataset_has_is_refused() -> None:
    """A misspelled option is an error with the list of those there are, never ignored."""
    with pytest.raises(UsageError, match="No dataset has an option 'agregate'; there are aggregate, "):
        RequestOptions(agregate="pod")
