"""Every declaration is consistent, and everything that is rendered from it is as committed."""

from __future__ import annotations

import re
from dataclasses import astuple
from datetime import timedelta

import pytest

from opencost_kusto.database import render, script, window_states
from opencost_kusto.result import BatchResult
from opencost_kusto.schema.columns import (
    Column,
    Derived,
    FromContext,
    FromOption,
    RowNumber,
    Table,
    Total,
    Unmapped,
)
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS, TABLES

# Columns whose names and order queries depend on, since before there was this package, and those right after them.
BEGINNINGS = {
    "OpenCostAllocation": """
        Timestamp, CollectionTime, Source, AllocationName, WindowStart, WindowEnd, WindowMinutes, Namespace, Node,
        Container, Pod, Controller, ControllerKind, CpuCores, CpuCoreHours, CpuCost, CpuEfficiency, RamBytes,
        RamByteHours, RamCost, RamEfficiency, GpuCount, GpuHours, GpuCost, NetworkCost, LoadBalancerCost, PvCost,
        TotalCost, TotalEfficiency, ExternalCost, SharedCost, Properties,
        RunId, ScenarioName, Metadata, Cluster, Aggregate, BatchId""",
    "OpenCostAssets": """
        Timestamp, CollectionTime, Source, AssetName, WindowStart, WindowEnd, WindowMinutes, Type, Account, Project,
        Service, Region, Category, Provider, ProviderID, Name, Cost, Adjustment, TotalCost, Bytes, Breakdown, Labels,
        RunId, ScenarioName, Metadata, Cluster, BatchId""",
    "OpenCostMetrics": """
        Timestamp, CollectionTime, Source, MetricName, MetricValue, MetricType, MetricHelp, Labels, Container, Pod,
        Namespace, Node,
        RunId, ScenarioName, Metadata, Cluster, BatchId""",
}
TYPES = {"datetime", "real", "long", "bool", "string", "dynamic"}
# What every dataset's table begins and ends with, so that one query serves all of them.
COMMON = {"Timestamp", "CollectionTime", "Source", "Cluster", "BatchId", "RunId", "ScenarioName", "Metadata"}
PROOF = ["Unmapped", "ClusterReported", "RowNumber", "BatchRows", "BatchCost", "BatchKeys"]

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
every_dataset = pytest.mark.parametrize("table", DATASETS.values(), ids=DATASETS)


def keys_of(table: Table) -> set[str]:
    """The paths of all keys a table reads or ignores."""
    return {key.path for key in table.keys()}


@every_table
def test_ignored_keys_have_a_reason_and_no_column(table: Table) -> None:
    """What is left out is left out on purpose, and is not read by a column at the same time."""
    read = {path for column in table.columns for path, _ in map(astuple, column.keys())}
    assert not read & table.ignored.keys()
    assert all(len(reason.split()) > 2 for reason in table.ignored.values())


@every_table
def test_committed_kql_is_the_rendered_schema(table: Table) -> None:
    """What runs is what is committed: `kql/tables/` equals what the schema renders to."""
    committed = (script.root() / "tables" / f"{table.name}.kql").read_text(encoding="utf-8")
    same = committed == render.render(table)
    assert same, f"kql/tables/{table.name}.kql differs from the schema; run: python -m opencost_kusto.database.render"


def test_committed_functions_are_the_rendered_ones() -> None:
    """The functions that name every table equal what the schema renders to."""
    for name, text in window_states.functions().items():
        committed = (script.root() / "functions" / f"{name}.kql").read_text(encoding="utf-8")
        assert committed == text, f"run: python -m opencost_kusto.database.render, which renders {name}"


def test_no_kql_is_left_of_a_removed_table() -> None:
    """Each file of `kql/tables/` belongs to a table of the schema."""
    files = {path.stem for path in (script.root() / "tables").glob("*.kql")}
    advice = "run: python -m opencost_kusto.database.render, and delete what it does not write"
    assert files == {table.name for table in TABLES}, advice


@pytest.mark.parametrize("name", BEGINNINGS)
def test_columns_begin_as_queries_expect_them(name: str) -> None:
    """Names and order of the existing columns do not change."""
    [columns] = [[column.name for column in table.columns] for table in TABLES if table.name == name]
    beginning = re.findall(r"\w+", BEGINNINGS[name])
    assert columns[: len(beginning)] == beginning


@every_dataset
def test_datasets_share_their_common_columns(table: Table) -> None:
    """Every dataset says the same about run, source and batch, and ends with what proves the batch."""
    columns = [column.name for column in table.columns]
    assert set(columns) >= COMMON | (
        {"WindowStart", "WindowEnd", "WindowMinutes"} if table.cadence == "step" else set()
    )
    assert columns[-len(PROOF) :] == PROOF


@every_dataset
def test_a_dataset_declares_how_it_is_requested(table: Table) -> None:
    """A dataset has a path; one with windows has a place for its records, and the windows that OpenCost keeps."""
    assert (table.path or "").startswith("/")
    windowed = table.cadence == "step"
    assert ((table.records_at is not None), bool(table.retention)) == (windowed, windowed)
    assert all(timedelta() < length <= timedelta(days=1) and kept > 1 for length, kept in table.retention.items())
    assert set(DEFAULT_DATASETS) == {name for name, each in DATASETS.items() if each.default} != set()


def test_the_run_log_is_no_dataset() -> None:
    """The table that this package fills itself is not requested, and its rows are made of the results of batches."""
    [own] = [table for table in TABLES if table.path is None]
    assert own.dataset not in DATASETS
    assert (own.cadence, own.options, own.retention) == ("run", (), {})
    added = {"reason_code", "rows_held", "response_keys", "currency", "fingerprint", "logged_at"}
    assert {key.path for key in own.keys()} - added <= set(BatchResult.__struct_fields__)


@every_table
def test_column_names_are_unique_whatever_the_case(table: Table) -> None:
    """No two columns share a name, not even in another case, and each is a plain word."""
    columns = [column.name for column in table.columns]
    assert len({name.lower() for name in columns}) == len(columns)
    assert all(re.fullmatch(r"[A-Z][A-Za-z]*", name) for name in columns)


@every_table
def test_types_are_kustos_and_bags_are_dynamic(table: Table) -> None:
    """Types are Kusto's own; what is a JSON object or list is `dynamic`, never a string; times are `datetime`."""
    assert {column.type for column in table.columns} <= TYPES
    bags = {"Labels", "Metadata", "Properties", "Breakdown", "Services", "Annotations", "Pvs", "Unmapped"}
    times = {"Timestamp", "CollectionTime", "WindowStart", "WindowEnd", "Start", "End"}
    for column in table.columns:
        assert (column.type == "dynamic") >= (column.name in bags), column.name
        assert (column.type == "datetime") >= (column.name in times), column.name


@every_table
def test_every_doc_is_one_sentence(table: Table) -> None:
    """Tables and columns are explained in one sentence each, without line breaks."""
    for doc in (table.doc, *(column.doc for column in table.columns)):
        assert re.fullmatch(r"[^\n]{6,119}[.…]", doc), doc
        assert not re.search(r"[a-z)]\. [A-Z]", doc), doc


@every_table
def test_keys_and_named_columns_exist(table: Table) -> None:
    """The columns that a table names as key and cost are copied from the record, and every name it uses is a column."""
    assert table.key_paths
    assert table.cost is None or table.copied(table.cost)
    assert table[table.batch_column].type == "string"
    assert not set(table.unordered) - {key.path for key in table.keys() if key.type == "dynamic"}
    with pytest.raises(TypeError, match="CollectionTime is not copied from a record"):
        table.copied("CollectionTime")
    with pytest.raises(KeyError, match="no column 'Nonsense'"):
        table["Nonsense"]


@every_table
def test_one_key_has_one_type(table: Table) -> None:
    """Two columns that read the same key read it as the same type, since it is decoded once."""
    types: dict[str, set[str]] = {}
    for column in table.columns:
        for path, kind in map(astuple, column.keys()):
            types.setdefault(path, set()).add(kind)
    assert {path: kinds for path, kinds in types.items() if len(kinds) > 1} == {}


@every_table
def test_every_column_has_an_origin(table: Table) -> None:
    """The data dictionary describes every origin, and one column of a dataset keeps the keys without a column."""
    for column in table.columns:
        match column.source:
            case FromContext(path=path):
                assert column.origin == f"set by opencost-kusto: {path}"
            case RowNumber() | Total() | FromOption():
                assert column.origin.startswith("set by opencost-kusto: ")
            case Unmapped():
                assert column.origin == "every other key"
            case Derived():
                assert column.origin.startswith("from ")
            case source:
                assert column.origin == source
    rests = [column for column in table.columns if isinstance(column.source, Unmapped)]
    assert len(rests) == (table.dataset in DATASETS)


@every_table
def test_adding_a_column_is_one_line(table: Table) -> None:
    """A column added to the schema is in the table's command, the docstrings and both mappings, and nothing else is."""
    columns = (*table.columns, Column("Brandnew", "long", "brandNew", "New."))
    more = Table(table.name, table.dataset, table.doc, columns, table.key)
    added = set(render.render(more).splitlines()) - set(render.render(table).splitlines())
    assert len([line for line in added if "Brandnew" in line]) == 4
    assert "brandNew" in keys_of(more)
    assert table.mapping == f"{table.name}_mapping"
