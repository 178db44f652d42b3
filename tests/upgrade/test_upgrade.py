"""Pods of the previous release and of this one, beside each other's schema: as recorded, and as the guide says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from opencost_kusto.version import __version__
from tests.support.documents import GUIDES
from tests.support.world import ROWS, World
from tests.upgrade import skew

RECORDED = json.loads(skew.RECORDED.read_text("utf-8"))
STEPS: dict[str, dict[str, Any]] = RECORDED["steps"]
# Rows and cost of an hour of the emulator, as the first step loaded it.
HOUR = STEPS["previous pod, previous schema"]


def test_it_is_the_previous_release() -> None:
    """The recording is of the commit that the entry point builds."""
    assert RECORDED["previous"] == skew.PREVIOUS


@pytest.mark.parametrize("step", [name for name in STEPS if "rows" in STEPS[name]])
def test_nothing_is_lost_or_doubled(step: str) -> None:
    """After each step, the table holds complete hours, each once."""
    assert STEPS[step]["rows"] % HOUR["rows"] == 0
    assert STEPS[step]["rows"] // HOUR["rows"] == round(STEPS[step]["cost"] / HOUR["cost"])


@pytest.mark.parametrize(
    ("step", "exit_code", "says_bootstrap"),
    [
        ("this pod, previous schema", 5, True),
        ("this bootstrap --check, previous schema", 5, True),
        ("this bootstrap", 0, False),
        ("previous pod, this schema", 7, True),
        ("this pod, this schema", 0, False),
        ("previous pod, this schema, new window", 7, True),
        ("this pod mends it", 0, False),
        ("this pod after rolling the schema back", 5, True),
        ("previous pod after rolling the schema back", 0, False),
        ("this bootstrap again", 0, False),
        ("this pod mends it again", 0, False),
    ],
)
def test_each_step_ends_as_recorded(step: str, exit_code: int, says_bootstrap: bool) -> None:
    """A pod that cannot work with a schema fails and says what to run; the others work."""
    assert (STEPS[step]["exit_code"], STEPS[step]["says_bootstrap"]) == (exit_code, says_bootstrap)


def test_rows_of_the_previous_release_are_replaced() -> None:
    """Rows without numbers, which the previous release wrote, are replaced by numbered ones while OpenCost has them."""
    assert STEPS["previous pod, this schema, new window"]["numbered"] < STEPS["this pod mends it"]["numbered"]
    for step in ("this pod mends it", "this pod mends it again"):
        assert STEPS[step]["numbered"] == STEPS[step]["rows"]


def test_the_guide_has_what_was_recorded() -> None:
    """The table of the guide has the exit codes of the recording."""
    message = re.findall(r"^\| ((?:this|previous) pod[^|]+?) \| (\d) \|", GUIDES["operations"], re.MULTILINE)
    assert {step: int(code) for step, code in message} == {
        step: STEPS[step]["exit_code"]
        for step in (
            "this pod, previous schema",
            "previous pod, this schema",
            "this pod, this schema",
            "this pod after rolling the schema back",
            "previous pod after rolling the schema back",
        )
    }


def test_a_newer_schema_is_no_obstacle() -> None:
    """Pods of this release load into tables to which a newer one has added columns, and the rows are complete."""
    with World() as world:
        for table in (ALLOCATION, SYNC_RUNS):
            world.command(f".create-merge table {table.name} (FromTheFuture: string)")
        report = world.sync()
        assert (report.counts, report.exit_code) == ({"landed": 1}, 0)
        world.settle(ROWS)
        assert len(world.log()) == 1


def test_the_changelog_begins_with_this_version() -> None:
    """The newest section of the changelog is about the version of the program."""
    newest = re.search(r"^## (\S+)", GUIDES["changelog"], re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__
