"""What the live exporter's users have works as before: its options, its files, and loading them by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.kusto.data import KustoConnectionStringBuilder as Builder
from azure.kusto.data.data_format import DataFormat
from azure.kusto.ingest import IngestionProperties, QueuedIngestClient

from opencost_kusto.cli import app
from opencost_kusto.cli.source_options import SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from tests.support.world import HOUR, World, result_of

# Rows of the recorded hour by container.
ROWS = 61


@pytest.fixture
def world() -> Iterator[World]:
    """Both servers, with the tables."""
    with World() as both:
        yield both


def written(world: World, folder: Path, *more: str) -> None:
    """Run `sync` as the live exporter was run, with files named for both datasets."""
    host, _, port = world.opencost.url.removeprefix("http://").partition(":")
    where = ("--host", host, "--port", port, "--window", str(HOUR))
    files = ("--allocation-output", str(folder / "allocation.json"), "--assets-output", str(folder / "assets.json"))
    app(["sync", *where, *(more or files)], standalone_mode=False)


def loaded(world: World, path: Path, table: Table, mapping: str) -> None:
    """Load a file by hand, with Microsoft's SDK and a mapping, and wait until it has landed."""
    how = IngestionProperties(
        "OpenCost", table.name, data_format=DataFormat.MULTIJSON, ingestion_mapping_reference=mapping
    )
    with QueuedIngestClient(Builder.with_no_authentication(world.kusto.url)) as client:
        client.ingest_from_file(str(path), how)
    world.drain()


def held(world: World, table: Table) -> list[dict[str, Any]]:
    """The rows and the cost that a table holds."""
    return world.query(f"{table.name} | summarize Rows = count(), Cost = round(sum({table.cost}), 4)")


def test_files_land_by_the_flat_mapping_as_a_sync_lands(world: World, tmp_path: Path) -> None:
    """Each named file has the rows of its dataset; loaded by hand they are the batch, so a sync sends nothing again."""
    written(world, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["allocation.json", "assets.json"]
    for table, name in ((ALLOCATION, "allocation.json"), (ASSETS, "assets.json")):
        rows = [json.loads(line) for line in (tmp_path / name).read_text("utf-8").splitlines()]
        loaded(world, tmp_path / name, table, table.flat_mapping)
        cost = round(sum(row[table.cost] for row in rows), 4)
        assert held(world, table) == [{"Rows": len(rows), "Cost": pytest.approx(cost, abs=1e-4)}]
        report = world.sync(request=SyncRequest(HOUR, None, (table.dataset,)))
        result = result_of(report, table.name)
        assert (str(result.outcome), result.rows, result.notes) == ("already landed", len(rows), [])


def halved(lines: list[str]) -> list[str]:
    """Half of the rows of a file."""
    return lines[: len(lines) // 2]


def cheaper(lines: list[str]) -> list[str]:
    """The rows of a file, of which one has lost its cost."""
    return [json.dumps(json.loads(lines[0]) | {"TotalCost": 0}), *lines[1:]]


@pytest.mark.parametrize(
    ("change", "mapping", "times"),
    [
        (list, ALLOCATION.mapping, 1),
        (halved, ALLOCATION.flat_mapping, 1),
        (cheaper, ALLOCATION.flat_mapping, 1),
        (list, ALLOCATION.flat_mapping, 2),
    ],
    ids=["another mapping", "half", "changed", "twice"],
)
def test_a_file_that_was_loaded_wrongly_is_repaired(
    world: World, tmp_path: Path, change: Any, mapping: str, times: int
) -> None:
    """Rows loaded by hand that are not the complete response do not count as landed: a sync replaces them."""
    written(world, tmp_path, "--data-type", "allocation", "--allocation-output", str(tmp_path / "rows.json"))
    path = tmp_path / "rows.json"
    complete = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(change(complete)), "utf-8")
    for _ in range(times):
        loaded(world, path, ALLOCATION, mapping)
    result = result_of(world.sync(request=SyncRequest(HOUR, None, ("allocation",))))
    assert str(result.outcome) == "landed"
    assert any("replaces" in note or "copies" in note or "twice" in note for note in result.notes), result.notes
    cost = sum(json.loads(line)["TotalCost"] for line in complete)
    assert held(world, ALLOCATION) == [{"Rows": ROWS, "Cost": pytest.approx(cost, abs=1e-4)}]


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "http://localhost:9003"),
        ({"host": "10.0.0.7"}, "http://10.0.0.7:9003"),
        ({"port": 9090}, "http://localhost:9090"),
        ({"host": "fd00::7", "port": 9090}, "http://[fd00::7]:9090"),
        ({"endpoint": "http://opencost:9003"}, "http://opencost:9003"),
    ],
)
def test_a_host_and_a_port_are_an_address(options: dict[str, Any], address: str) -> None:
    """Either has the default of the endpoint where it is left out."""
    assert SourceOptions(**options).address == address


def test_the_command_line_wins_over_the_other_spelling_in_the_environment(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host on the command line overrides an endpoint in the environment, and a file overrides a folder."""
    monkeypatch.setenv("OPENCOST_KUSTO_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENCOST_KUSTO_OUTPUT", str(tmp_path / "folder"))
    written(world, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["allocation.json", "assets.json"]


def test_a_database_without_old_tables_is_reported(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """`bootstrap --migrate` of a new database bootstraps it, and says that there was nothing to move."""
    target = ("--kusto-uri", world.kusto.url, "--database", "OpenCost", "--auth", "none")
    app(["bootstrap", "--migrate", *target], standalone_mode=False, obj=Process())
    assert capsys.readouterr().out.endswith("OpenCost has no tables that were made by hand, and is up to date.\n")
    assert world.query("OpenCostCurrencies | count") == [{"Count": 0}]
