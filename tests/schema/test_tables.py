"""The ledger knows every key OpenCost sends, and everything that is rendered from it is as committed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple
from functools import cache

import msgspec
import pytest

from opencost_kusto.database import render, script
from opencost_kusto.errors import OpenCostError
from opencost_kusto.extract import prometheus, responses
from opencost_kusto.result import BatchResult
from opencost_kusto.schema.columns import (
    Column,
    Derived,
    FromContext,
    FromOption,
    Json,
    RowNumber,
    Table,
    Total,
    Unmapped,
)
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, DATASETS, METRICS, SYNC_RUNS, TABLES
from tests.support.recordings import VERSIONS, names, recording

# As design.md lists them: what people have today, in their order, and what comes right after.
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
    "OpenCostSyncRuns": "Timestamp, CollectionTime, Source",
}
# Columns the design asks for by name beyond those.
FURTHER = {
    "OpenCostAllocation": "LbAllocations, Pvs, Labels, Annotations, NamespaceLabels, Services, ProviderID, Start, End",
    "OpenCostAssets": "CpuBreakdown, RamBreakdown",
    "OpenCostMetrics": "Instance",
    "OpenCostSyncRuns": "BatchId, Outcome, Rows, Cost",
}
TYPES = {"datetime", "real", "long", "bool", "string", "dynamic"}
# Read where they come; the recorded cloud has neither projects nor credits. The run log adds what a report has not.
NEVER_RECORDED = {
    "assets": {"properties.project", "credit"},
    "runs": {"reason_code", "rows_held", "response_keys", "currency", "fingerprint", "logged_at"},
}

pytestmark = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def known_to(table: Table) -> set[str]:
    """The paths of all keys a table reads or ignores."""
    return {path for path, _ in map(astuple, table.keys())}


def answers(table: Table, version: str) -> list[str]:
    """The names of the recorded answers that are a table's; summaries have a shape of their own that we never ask."""
    if table is METRICS:
        return names(version, "metrics.txt")
    found = [name for name in names(version) if name.endswith(".json") and not name.startswith("allocation_summary")]
    if table is ASSETS:
        return [name for name in found if name.startswith(("assets", "two_clusters_assets"))]
    return [name for name in found if name.startswith(("allocation", "two_clusters")) and "assets" not in name]


@cache
def records(table: Table, version: str, name: str) -> tuple[dict[str, Json], ...]:
    """The records of one answer as plain JSON; none where OpenCost refused."""
    body = recording(version, name)
    if table is METRICS:
        return tuple(msgspec.json.decode(msgspec.json.encode(sample)) for sample in prometheus.samples(body))
    try:
        return tuple(msgspec.json.decode(record) for record in responses.records([body]))
    except OpenCostError:
        return ()


def paths(record: dict[str, Json], known: set[str], parent: str = "") -> Iterator[str]:
    """The dotted paths of a record, down to what the ledger knows or has nothing below."""
    for key, value in record.items():
        path = f"{parent}{key}"
        yield path
        if isinstance(value, dict) and any(other.startswith(f"{path}.") for other in known):
            inner = set(paths(value, known, f"{path}."))
            # What is kept whole loses nothing, whatever lies below.
            yield from inner & known if path in known else inner


def recorded(table: Table, version: str) -> dict[str, set[str]]:
    """The paths of all records of a version, by answer; the run ledger's come from our own report."""
    if table is SYNC_RUNS:
        return {"report": known_to(table) & set(BatchResult.__struct_fields__)}
    known = known_to(table)
    return {
        name: {path for record in records(table, version, name) for path in paths(record, known)}
        for name in answers(table, version)
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_key_has_a_column_or_a_reason(table: Table, version: str) -> None:
    """No key of any record of any recorded answer is unknown to the ledger."""
    known = known_to(table)
    opened = {path.partition(".")[0] for path in known if "." in path}
    found = recorded(table, version)
    assert any(found.values())
    unknown = {(path, name) for name, seen in found.items() for path in seen - known - opened}
    assert not unknown, f"no column of {table.name} reads these, and its `ignored` does not list them: {unknown}"


def test_every_source_is_a_key_opencost_really_sends(table: Table) -> None:
    """A column whose source is misspelled would be null for ever; the exceptions are named here."""
    found = set[str]().union(*(seen for version in VERSIONS for seen in recorded(table, version).values()))
    assert known_to(table) - found <= NEVER_RECORDED.get(table.dataset, set())


def test_ignored_keys_have_a_reason_and_no_column(table: Table) -> None:
    """What is left out is left out on purpose, and is not read by a column at the same time."""
    read = {path for column in table.columns for path, _ in map(astuple, column.keys())}
    assert not read & table.ignored.keys()
    assert all(len(reason.split()) > 2 for reason in table.ignored.values())


def test_committed_kql_is_the_rendered_ledger(table: Table) -> None:
    """What runs is what is committed: `kql/tables/` equals what the ledger renders to."""
    committed = (script.root() / "tables" / f"{table.name}.kql").read_text(encoding="utf-8")
    same = committed == render.render(table)
    assert same, (
        f"kql/tables/{table.name}.kql is not what the ledger says; run: python -m opencost_kusto.database.render"
    )


def test_no_kql_is_left_of_a_table_that_is_gone(table: Table) -> None:
    """Each file of `kql/tables/` belongs to a table of the ledger."""
    files = {path.stem for path in (script.root() / "tables").glob("*.kql")}
    assert table.name in files
    assert files == {each.name for each in TABLES}, (
        "run: python -m opencost_kusto.database.render, and delete what it does not write"
    )


def test_columns_begin_as_people_have_them(table: Table) -> None:
    """Names and order begin as the design lists them, and the other columns it names exist."""
    columns = [column.name for column in table.columns]
    beginning = re.findall(r"\w+", BEGINNINGS[table.name])
    assert columns[: len(beginning)] == beginning
    assert set(re.findall(r"\w+", FURTHER[table.name])) <= set(columns)


def test_column_names_are_unique_whatever_the_case(table: Table) -> None:
    """No two columns share a name, not even in another case, and each is a plain word."""
    columns = [column.name for column in table.columns]
    assert len({name.lower() for name in columns}) == len(columns)
    assert all(re.fullmatch(r"[A-Z][A-Za-z]*", name) for name in columns)


def test_types_are_kustos_and_bags_are_dynamic(table: Table) -> None:
    """Types are Kusto's own; what is a JSON object or list is `dynamic`, never a string; times are `datetime`."""
    assert {column.type for column in table.columns} <= TYPES
    bags = {"Labels", "Metadata", "Properties", "Breakdown", "Services", "Annotations", "Pvs", "Unmapped"}
    times = {"Timestamp", "CollectionTime", "WindowStart", "WindowEnd", "Start", "End"}
    for column in table.columns:
        assert (column.type == "dynamic") >= (column.name in bags), column.name
        assert (column.type == "datetime") >= (column.name in times), column.name


def test_every_doc_is_one_sentence(table: Table) -> None:
    """Tables and columns are explained in one sentence each, without line breaks."""
    for doc in (table.doc, *(column.doc for column in table.columns)):
        assert re.fullmatch(r"[^\n]{6,119}[.…]", doc), doc
        assert not re.search(r"[a-z)]\. [A-Z]", doc), doc


def test_keys_and_named_columns_exist(table: Table) -> None:
    """The columns a table names as key, cost and batch are columns of it."""
    assert table.key
    for name in (*table.key, *((table.cost,) if table.cost else ()), table.batch_column):
        assert table[name].name == name
    with pytest.raises(KeyError, match="no column 'Nonsense'"):
        table["Nonsense"]


def test_one_key_has_one_type(table: Table) -> None:
    """Two columns that read the same key read it as the same type, since it is decoded once."""
    types: dict[str, set[str]] = {}
    for column in table.columns:
        for path, kind in map(astuple, column.keys()):
            types.setdefault(path, set()).add(kind)
    assert {path: kinds for path, kinds in types.items() if len(kinds) > 1} == {}


def test_origin_tells_where_each_column_comes_from(table: Table) -> None:
    """The data dictionary has words for every source, and only one column keeps the rest."""
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


def test_adding_a_column_is_one_line(table: Table) -> None:
    """A column added to the ledger is in the table's command, the docstrings and the mapping, and nothing else is."""
    more = Table(
        name=table.name,
        dataset=table.dataset,
        doc=table.doc,
        columns=(*table.columns, Column("Brandnew", "long", "brandNew", "A key that came today.")),
        key=table.key,
    )
    added = set(render.render(more).splitlines()) - set(render.render(table).splitlines())
    assert len([line for line in added if "Brandnew" in line]) == 3
    assert "brandNew" in known_to(more)
    assert ALLOCATION.mapping == "OpenCostAllocation_mapping"
