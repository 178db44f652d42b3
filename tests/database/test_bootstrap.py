"""`bootstrap` against the stand-in: it mends what it may, explains what it may not, and then changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from opencost_kusto.cli import main
from opencost_kusto.database import kql
from opencost_kusto.database.bootstrap import Difference, bootstrap, differences
from opencost_kusto.emulator import KustoEmulator, Reply, Request
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto

ASSETS_MAPPING = '.create-or-alter table OpenCostAssets ingestion json mapping "OpenCostAssets_mapping"'


class Checked(NamedTuple):
    """How `--check` ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def emulator() -> Iterator[KustoEmulator]:
    """A stand-in for Kusto with an empty database."""
    with KustoEmulator(latency=0) as emulator:
        yield emulator


@pytest.fixture
def kusto(emulator: KustoEmulator) -> Iterator[Kusto]:
    """A client of the empty database."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        yield kusto


def _fill(kusto: Kusto, change: Callable[[str], str] = lambda text: text) -> None:
    """Run the bundled commands, each after `change`, which leaves one out by returning nothing."""
    for command in kql.commands():
        if text := change(command.text):
            kusto.command(text)


@pytest.fixture
def check(
    emulator: KustoEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], Checked]:
    """Runs `bootstrap --check` through the command line: the exit code, stdout and stderr."""

    def check() -> Checked:
        words = ["bootstrap", "--check", "--kusto-uri", emulator.url, "--database", emulator.database, "--auth", "none"]
        monkeypatch.setattr(sys, "argv", ["opencost-kusto", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return Checked(int(ended.value.code or 0), *capsys.readouterr())

    return check


def _changes(emulator: KustoEmulator, since: int = 0) -> list[str]:
    """The commands that were sent and are not `.show`."""
    return [request.csl for request in emulator.requests[since:] if request.csl and ".show" not in request.csl[:5]]


def test_twice_in_a_row_changes_nothing(emulator: KustoEmulator, kusto: Kusto) -> None:
    """The first run sends each bundled command once, in order; the second sends none, and both say so."""
    told: list[Difference] = []
    commands = list(kql.commands())
    assert bootstrap(kusto, told.append) == len(commands) == len(told)
    assert [difference.command for difference in told] == commands
    assert _changes(emulator) == [command.text for command in commands]
    after = len(emulator.requests)
    assert bootstrap(kusto, told.append) == 0
    assert len(told) == len(commands)
    assert _changes(emulator, after) == []


def test_check_fails_before_and_passes_after(
    emulator: KustoEmulator, kusto: Kusto, check: Callable[[], Checked]
) -> None:
    """`--check` ends with 5 on an empty database and with 0 on a bootstrapped one, and changes neither."""
    before = check()
    assert (before.returncode, before.stdout) == (5, ""), before.stderr
    for table in ("OpenCostAllocation", "OpenCostAssets", "OpenCostMetrics", "OpenCostSyncRuns"):
        assert f"table {table} is missing (tables/{table}.kql:" in before.stderr
    assert _changes(emulator) == []
    bootstrap(kusto)
    sent = len(emulator.requests)
    after = check()
    assert after.returncode == 0, after.stderr
    assert _changes(emulator, sent) == []


# What somebody did to the database, and what --check says of it.
MENDABLE: dict[str, tuple[Callable[[str], str], str]] = {
    "a missing table": (
        lambda text: "" if " table OpenCostSyncRuns " in text else text,
        "table OpenCostSyncRuns is missing",
    ),
    "a missing column": (
        lambda text: (
            ""
            if text.startswith(".alter-merge table OpenCostAssets column")
            else text.replace("    ClaimNamespace: string,\n", "")
        ),
        "OpenCostAssets lacks ClaimNamespace",
    ),
    "a missing mapping": (
        lambda text: "" if text.startswith(ASSETS_MAPPING) else text,
        "mapping OpenCostAssets_mapping is missing or differs",
    ),
    "a changed mapping": (
        lambda text: text.replace('$.Record.claimName"', '$.Name"') if text.startswith(ASSETS_MAPPING) else text,
        "mapping OpenCostAssets_mapping is missing or differs",
    ),
    "a changed docstring of a column": (
        lambda text: text.replace("Claim on the volume.", "Something else."),
        "docstrings of 1 columns of OpenCostAssets differ",
    ),
    "a changed docstring of a table": (
        lambda text: text.replace('docstring = "One scrape', 'docstring = "Some scrape'),
        "docstring of OpenCostMetrics differs",
    ),
    "a missing policy": (
        lambda text: "" if "table OpenCostMetrics policy ingestionbatching" in text else text,
        "policy ingestionbatching of OpenCostMetrics differs",
    ),
    "a changed policy": (
        lambda text: text.replace("00:00:30", "00:05:00") if " table OpenCostMetrics " in text else text,
        "policy ingestionbatching of OpenCostMetrics differs",
    ),
}


@pytest.mark.parametrize("case", MENDABLE)
def test_each_difference_is_found_and_mended(
    emulator: KustoEmulator, kusto: Kusto, check: Callable[[], Checked], case: str
) -> None:
    """`--check` ends with 5 and names the difference and its file; bootstrap mends it and no more."""
    change, said = MENDABLE[case]
    _fill(kusto, change)
    sent = len(emulator.requests)
    checked = check()
    assert checked.returncode == 5, checked.stdout
    assert f"{said} (tables/OpenCost" in checked.stderr
    assert _changes(emulator, sent) == []
    found = list(differences(kusto))
    assert said in [difference.what for difference in found]
    assert not any(difference.conflict for difference in found)
    assert bootstrap(kusto) == len(found)
    assert _changes(emulator, sent) == [difference.command.text for difference in found]
    assert list(differences(kusto)) == []


def test_rows_outlive_a_column_that_is_added(kusto: Kusto) -> None:
    """A column that is added keeps the rows that are there, and is null in them."""
    kusto.command(".create-merge table OpenCostAssets (Name: string, TotalCost: real)")
    kusto.command('.set-or-append OpenCostAssets <| print Name = "disk", TotalCost = 1.5')
    assert bootstrap(kusto) > 0
    rows = kusto.query("OpenCostAssets | project Name, TotalCost, ClaimNamespace")
    assert [(row["Name"], row["TotalCost"], row["ClaimNamespace"] or None) for row in rows] == [("disk", 1.5, None)]


def test_a_column_of_another_type_is_explained_and_nothing_altered(
    emulator: KustoEmulator, kusto: Kusto, check: Callable[[], Checked]
) -> None:
    """With a column of another type, bootstrap and --check end with 5, say why, and send no change at all."""
    kusto.command(".create-merge table OpenCostAllocation (Timestamp: datetime, TotalCost: string, Mine: long)")
    before = kusto.command(".show database ['OpenCost'] schema as json")
    sent = len(emulator.requests)
    with pytest.raises(
        KustoError, match=r"TotalCost is string in the database and real here\. A column's type is never"
    ):
        bootstrap(kusto)
    checked = check()
    assert checked.returncode == 5
    assert "OpenCostAllocation.TotalCost is string in the database and real here" in checked.stderr
    assert _changes(emulator, sent) == []
    assert kusto.command(".show database ['OpenCost'] schema as json") == before


def test_a_column_of_somebody_else_is_left_alone(kusto: Kusto) -> None:
    """A column that we do not know is no difference, and stays."""
    bootstrap(kusto)
    kusto.command(".create-merge table OpenCostAssets (Mine: long)")
    assert list(differences(kusto)) == []
    assert bootstrap(kusto) == 0
    assert "Mine" in kusto.command(".show database ['OpenCost'] schema as json")[0]["DatabaseSchema"]


def test_a_command_that_fails_names_its_file_and_line(emulator: KustoEmulator, kusto: Kusto) -> None:
    """The error names file and line of the command that failed, and Kusto's words; the next run sends what is left."""

    def refuse(request: Request) -> Reply | None:
        if not request.csl.startswith(ASSETS_MAPPING):
            return None
        body = b'{"error":{"code":"Forbidden","message":"no","@message":"You may not map.","@permanent":true}}'
        return Reply(403, {"Content-Type": "application/json"}, body)

    emulator.fault = refuse
    command = next(one for one in kql.commands() if one.text.startswith(ASSETS_MAPPING))
    line = command.path.read_text("utf-8").splitlines().index(ASSETS_MAPPING) + 1
    with pytest.raises(KustoError, match=rf"^tables/OpenCostAssets\.kql:{line}: .*You may not map"):
        bootstrap(kusto)
    assert _changes(emulator)[-1] == command.text
    emulator.fault = None
    sent = len(emulator.requests)
    commands = [one.text for one in kql.commands()]
    left = commands[commands.index(command.text) :]
    assert bootstrap(kusto) == len(left)
    assert _changes(emulator, sent) == left
