"""`bootstrap` against the emulator: it fixes what it may, explains what it may not, and then changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import NamedTuple

import pytest

from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.database import script
from opencost_kusto.database.bootstrap import Difference, bootstrap, differences
from opencost_kusto.database.compare import comparable, parameters_of
from opencost_kusto.database.functions import Parameter
from opencost_kusto.emulator import Fault, KustoEmulator, Reply, Request
from opencost_kusto.errors import KustoError, OpenCostKustoError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import ASSETS, METRICS

BY_NAMESPACE = "\nOpenCostByNamespace("
ASSETS_MAPPING = '.create-or-alter table OpenCostAssets ingestion json mapping "OpenCostAssets_mapping"'


class Checked(NamedTuple):
    """How `--check` ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def emulator() -> Iterator[KustoEmulator]:
    """An emulator for Kusto with an empty database."""
    with KustoEmulator(latency=0) as emulator:
        yield emulator


@pytest.fixture
def kusto(emulator: KustoEmulator) -> Iterator[Kusto]:
    """A client of the empty database."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        yield kusto


def _fill(kusto: Kusto, change: Callable[[str], str] = lambda text: text) -> None:
    """Run the bundled commands, each after `change`, which leaves one out by returning nothing.

    A function that names what was left out is refused by Kusto, so it is missing as well.
    """
    for command in script.commands():
        if text := change(command.text):
            with suppress(KustoError) if text.startswith(".create-or-alter function") else nullcontext():
                kusto.command(text)


Run = Callable[..., Checked]


@pytest.fixture
def run(emulator: KustoEmulator, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `bootstrap` with options through the command line: the exit code, stdout and stderr."""

    def run(*options: str) -> Checked:
        arguments = [
            "bootstrap",
            *options,
            "--kusto-uri",
            emulator.url,
            "--database",
            emulator.database,
            "--auth",
            "none",
        ]
        try:
            app(arguments, standalone_mode=False, obj=Process())
        except OpenCostKustoError as error:
            print(error, file=sys.stderr)
            return Checked(error.exit_code, *capsys.readouterr())
        return Checked(0, *capsys.readouterr())

    return run


@pytest.fixture
def check(run: Run) -> Callable[[], Checked]:
    """Runs `bootstrap --check`."""
    return lambda: run("--check")


def _changes(emulator: KustoEmulator, since: int = 0) -> list[str]:
    """The commands that were sent and are not `.show`."""
    return [request.csl for request in emulator.requests[since:] if request.csl and ".show" not in request.csl[:5]]


def test_twice_in_a_row_changes_nothing(emulator: KustoEmulator, kusto: Kusto) -> None:
    """The first run sends each bundled command once, in order; the second sends none, and both say so."""
    reported: list[Difference] = []
    commands = list(script.commands())
    assert bootstrap(kusto, reported.append).changed == len(commands) == len(reported)
    assert [difference.command for difference in reported] == [command.text for command in commands]
    assert _changes(emulator) == [command.text for command in commands]
    after = len(emulator.requests)
    assert bootstrap(kusto, reported.append).changed == 0
    assert len(reported) == len(commands)
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
        "OpenCostAssets has no column ClaimNamespace",
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
        lambda text: text.replace(ASSETS["ClaimName"].doc, "Something else."),
        "docstrings of 1 columns of OpenCostAssets differ",
    ),
    "a changed docstring of a table": (
        lambda text: text.replace(f"docstring = {literal(METRICS.doc)}", 'docstring = "Something else."'),
        "docstring of OpenCostMetrics differs",
    ),
    "a function of another default": (
        lambda text: text.replace('cluster: string = ""', 'cluster: string = "x"', 1) if BY_NAMESPACE in text else text,
        "function OpenCostByNamespace differs: parameters",
    ),
    "a function of one parameter more": (
        lambda text: (
            text.replace("startTime: datetime", "more: long, startTime: datetime", 1) if BY_NAMESPACE in text else text
        ),
        "function OpenCostByNamespace differs: parameters",
    ),
    "a function of another body": (
        lambda text: text[: text.rindex("}")] + "| take 1\n}" if BY_NAMESPACE in text else text,
        "function OpenCostByNamespace differs: body",
    ),
    "a table in another folder": (
        lambda text: text.replace('folder = "OpenCost"', 'folder = "Costs"') if " OpenCostMetrics " in text else text,
        "folder of OpenCostMetrics differs",
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
    """`--check` names the difference and its file, and ends with 5 where it is needed; bootstrap fixes no more."""
    change, message = MENDABLE[case]
    _fill(kusto, change)
    sent = len(emulator.requests)
    checked = check()
    [line] = [line for line in checked.stderr.splitlines() if f" {message} (" in line]
    needed = any(word in message for word in ("missing", "has no column", "function"))
    assert checked.returncode == (5 if needed else 0), checked.stdout
    assert line.endswith("[optional]") is not needed
    assert _changes(emulator, sent) == []
    found = list(differences(kusto))
    assert message in [difference.what for difference in found]
    assert not any(difference.conflict for difference in found)
    assert bootstrap(kusto).changed == len(found)
    assert _changes(emulator, sent) == [difference.command for difference in found]
    assert list(differences(kusto)) == []


def test_rows_outlive_a_column_that_is_added(kusto: Kusto) -> None:
    """A column that is added keeps the rows that are there, and is null in them."""
    kusto.command(".create-merge table OpenCostAssets (Name: string, TotalCost: real)")
    kusto.command('.set-or-append OpenCostAssets <| print Name = "disk", TotalCost = 1.5')
    assert bootstrap(kusto).changed > 0
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


def test_a_column_outside_the_schema_is_left_alone(kusto: Kusto) -> None:
    """A column outside the schema is no difference, and remains."""
    bootstrap(kusto)
    kusto.command(".create-merge table OpenCostAssets (Mine: long)")
    assert list(differences(kusto)) == []
    assert bootstrap(kusto).changed == 0
    assert "Mine" in kusto.command(".show database ['OpenCost'] schema as json")[0]["DatabaseSchema"]


def test_a_command_that_fails_names_its_file_and_line(emulator: KustoEmulator, kusto: Kusto) -> None:
    """The error has file and line of the failed command, and Kusto's message; the next run sends the remaining ones."""

    def refuse(request: Request) -> Reply | None:
        if not request.csl.startswith(ASSETS_MAPPING):
            return None
        body = b'{"error":{"code":"Forbidden","message":"no","@message":"You may not map.","@permanent":true}}'
        return Reply(403, {"Content-Type": "application/json"}, body)

    emulator.fault = refuse
    command = next(one for one in script.commands() if one.text.startswith(ASSETS_MAPPING))
    line = command.path.read_text("utf-8").splitlines().index(ASSETS_MAPPING) + 1
    with pytest.raises(KustoError, match=rf"^tables/OpenCostAssets\.kql:{line}: .*You may not map"):
        bootstrap(kusto)
    assert _changes(emulator)[-1] == command.text
    emulator.fault = None
    sent = len(emulator.requests)
    commands = [one.text for one in script.commands()]
    left = commands[commands.index(command.text) :]
    assert bootstrap(kusto).changed == len(left)
    assert _changes(emulator, sent) == left


def refuse(beginning: str) -> Fault:
    """Kusto's reply to an identity without the right to run a command with this beginning."""
    body = b"""{"error":{"code":"Forbidden","message":"no","@permanent":true,
        "@message":"Principal 'aadapp=1;2' is not authorized to perform operation."}}"""
    refusal = Reply(403, {"Content-Type": "application/json"}, body)
    return lambda request: refusal if request.csl.startswith(beginning) else None


OPTIONAL = {
    ".alter table OpenCostAssets policy extent_tags_retention": "policy extent_tags_retention of OpenCostAssets",
    ".alter-merge table OpenCostAssets policy ingestionbatching": "policy ingestionbatching of OpenCostAssets",
    ".alter-merge table OpenCostAssets column-docstrings": "columns of OpenCostAssets differ",
}


@pytest.mark.parametrize("beginning", OPTIONAL)
def test_a_refused_nicety_does_not_stop_it(emulator: KustoEmulator, kusto: Kusto, beginning: str) -> None:
    """Everything else is made, and the note has Kusto's reason and the command to run later."""
    emulator.fault = refuse(beginning)
    done = bootstrap(kusto)
    assert done.changed == len(list(script.commands())) - 1
    [refused] = done.refused
    assert OPTIONAL[beginning] in str(refused)
    assert "is not authorized" in str(refused)
    assert f"To change it later, run: {beginning}" in str(refused)
    assert [one.what for one in differences(kusto)] == [refused.difference.what]
    assert {"OpenCostAllocation", "OpenCostSyncRuns"} <= set(emulator.engine.tables)


def test_a_refused_nicety_is_a_warning_and_exit_0(emulator: KustoEmulator, run: Run) -> None:
    """The command line says it at the end, on stderr."""
    emulator.fault = refuse(".alter table OpenCostAssets policy")
    done = run()
    assert done.returncode == 0
    [warning] = [line for line in done.stderr.splitlines() if "WARN" in line]
    assert "policy extent_tags_retention of OpenCostAssets differs" in warning


def test_a_mapping_that_may_not_be_read_is_sent(emulator: KustoEmulator, kusto: Kusto) -> None:
    """The right to read a mapping is not documented; the command that creates it changes nothing where it exists."""
    bootstrap(kusto)
    emulator.fault = refuse(".show table OpenCostAssets ingestion")
    # A table has two.
    assert bootstrap(kusto).changed == 2


def test_a_table_that_exists_gets_its_sentence_by_a_command_of_its_own(emulator: KustoEmulator, kusto: Kusto) -> None:
    """`.create-merge table` adds columns to a table that exists and changes nothing else.

    https://learn.microsoft.com/kusto/management/create-merge-table-command
    """
    bootstrap(kusto)
    kusto.command('.alter table OpenCostAssets docstring "Old."')
    sent = len(emulator.requests)
    assert bootstrap(kusto).changed == 1
    [change] = _changes(emulator, sent)
    assert change.startswith(".alter table OpenCostAssets docstring ")
    assert list(differences(kusto)) == []


@pytest.mark.parametrize(
    ("there", "same"),
    [('""', True), ("''", True), ('@""', True), ('"x"', False), (None, False)],
)
def test_a_default_is_compared_however_it_is_quoted(there: str | None, same: bool) -> None:
    """Kusto may show a literal in another spelling than the one it was given."""
    name, kind = "cluster", "string"
    declared = {"Name": name, "CslType": kind, **({} if there is None else {"CslDefaultValue": there})}
    assert (parameters_of({"InputParameters": [declared]}) == [comparable(Parameter(name, kind, '""'))]) is same
    dates = [{"Name": "a", "CslType": "datetime", "CslDefaultValue": "datetime( null )"}]
    assert parameters_of({"InputParameters": dates}) == [comparable(Parameter("a", "datetime", "datetime(null)"))]
