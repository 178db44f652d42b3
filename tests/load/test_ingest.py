"""Sending: the mapping is checked first, a tag without rows is passed by, and what Kusto lists is read with care."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from opencost_kusto.emulator.kusto.catalog import Failure
from opencost_kusto.errors import ContentError, KustoError, ReasonCode
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load import ingest
from opencost_kusto.schema.kql import create_mapping, paths
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.wire import REFUSED
from tests.load.conftest import staged
from tests.support.world import PATIENT, World, result_of

TABLE = ALLOCATION.name


@pytest.fixture
def kusto(world: World) -> Iterator[Kusto]:
    """A client."""
    with world.client(PATIENT) as kusto:
        yield kusto


def mapping_without(column: str | None, path: str | None = None) -> str:
    """The command that makes the mapping without a column, or with another path for it."""
    entries = [
        {"column": one.name, "Properties": {"Path": path if one.name == column else f"$.{ALLOCATION.path_of(one)}"}}
        for one in ALLOCATION.columns
        if one.name != column or path
    ]
    head = create_mapping(ALLOCATION).partition("\n")[0]
    return f"{head}\n```{json.dumps(entries)}```"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (mapping_without(None), None),
        (mapping_without("Namespace"), ReasonCode.SCHEMA_DRIFT),
        (mapping_without("TotalCost", "$.cost"), ReasonCode.SCHEMA_DRIFT),
        (mapping_without("RowNumber"), ReasonCode.SCHEMA_DRIFT),
        (f'.drop table {TABLE} ingestion json mapping "{ALLOCATION.mapping}"', ReasonCode.NOT_BOOTSTRAPPED),
    ],
    ids=["complete", "a column missing", "another path", "no numbers", "no mapping"],
)
def test_a_mapping_that_would_lose_values(world: World, kusto: Kusto, command: str, code: ReasonCode | None) -> None:
    """A mapping that is missing or of another version is refused before anything is uploaded."""
    world.command(command)
    if code is None:
        ingest.check_mapping(kusto, ALLOCATION)
        return
    with pytest.raises(KustoError, match="bootstrap") as caught:
        ingest.check_mapping(kusto, ALLOCATION)
    assert caught.value.code is code
    report = world.sync()
    assert (result_of(report).outcome, report.exit_code) == ("failed", 5)
    assert not world.storage.blobs


def test_a_mapping_that_may_not_be_read(world: World, kusto: Kusto) -> None:
    """Where this identity may not read mappings, Kusto itself refuses a blob without one."""
    world.kusto.fault = lambda request: REFUSED if "ingestion json mappings" in request.csl else None
    ingest.check_mapping(kusto, ALLOCATION)
    assert result_of(world.sync()).outcome == "landed"


@pytest.mark.parametrize("key", ["column", "Column"])
@pytest.mark.parametrize(("outer", "inner"), [("Properties", "Path"), ("properties", "path"), ("", "path")])
def test_a_mapping_is_read_in_each_of_its_spellings(key: str, outer: str, inner: str) -> None:
    """Kusto shows a mapping in several spellings."""
    value: dict[str, object] = {inner: "$.a"}
    assert paths([{key: "A", **({outer: value} if outer else value)}]) == {"A": "$.a"}


@pytest.mark.parametrize(
    ("taken", "free"),
    [([], "b"), (["b"], "b~2"), (["b", "b~2"], "b~3"), (["b", "b~3"], "b~2"), (["a"], "b")],
)
def test_the_first_free_tag(world: World, kusto: Kusto, taken: list[str], free: str) -> None:
    """A tag is free when no extent carries it."""
    for tag in taken:
        tags = json.dumps([f"ingest-by:{tag}"])
        world.command(f".set-or-append {TABLE} with (tags='{tags}') <| {TABLE} | take 0")
    assert ingest.free_tag(kusto, TABLE, "b") == free


def test_failures_are_those_of_our_blobs(world: World, kusto: Kusto, tmp_path: Path) -> None:
    """Failures of the blobs requested are found, with their kind; skipped blobs and others' are left out."""
    ((_, sealed),) = staged(world, tmp_path)
    world.kusto.pause()
    mine, skipped, other = (ingest.send(kusto, sealed, TABLE, None) for _ in range(3))
    now = world.kusto.engine.clock()
    for source, code, kind in (
        (mine, "BadRequest_X", "Transient"),
        (skipped, "Skipped_IngestByTagAlreadyExists", "Permanent"),
        (other, "BadRequest_X", "Permanent"),
    ):
        (blob,) = (name for name in world.storage.blobs if source in name)
        world.kusto.engine.failures.append(Failure(TABLE, blob, "No. ", code, "{}", now, kind))
    assert ingest.failures(kusto, TABLE, [mine, skipped]) == {mine: ingest.Failure("No", permanent=False)}
    assert ingest.failures(kusto, TABLE, [other]) == {other: ingest.Failure("No", permanent=True)}
    assert ingest.failures(kusto, "Other", [mine, other]) == {}
    # The user's spelling of the database, which has no case.
    with Kusto(world.kusto.url, world.kusto.database.swapcase(), auth="none") as other_case:
        assert ingest.failures(other_case, TABLE, [mine]) == {mine: ingest.Failure("No", permanent=False)}


def test_a_blob_has_a_digest_for_a_name(world: World, kusto: Kusto, tmp_path: Path) -> None:
    """Names of clusters and databases are in no blob's name, and a batch without its file is named."""
    ((_, sealed),) = staged(world, tmp_path)
    ingest.send(kusto, sealed, TABLE, sealed.batch_id)
    (blob,) = world.storage.blobs
    assert re.search(rf"(^|/){TABLE}__[0-9a-f-]{{36}}__{TABLE}-[0-9a-f]{{16}}\.multijson\.gz$", blob)
    sealed.path.unlink()
    with pytest.raises(ContentError, match=r"is missing\. Move .* away and sync the window again") as caught:
        ingest.send(kusto, sealed, TABLE, sealed.batch_id)
    assert caught.value.code is ReasonCode.INCOMPLETE


def test_the_tag_of_a_message(world: World, kusto: Kusto, tmp_path: Path) -> None:
    """A message with a tag lands once per tag, one without lands as often as it comes."""
    ((_, sealed),) = staged(world, tmp_path)
    for tag, rows in (("t", 8), ("t", 8), ("t~2", 16), (None, 24)):
        ingest.send(kusto, sealed, TABLE, tag)
        world.kusto.wait_idle()
        assert world.count() == rows, tag
    assert {one.error_code for one in world.kusto.engine.failures} <= {"Skipped_IngestByTagAlreadyExists"}
