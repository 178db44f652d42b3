"""The real command, as a process of its own, against one emulator for OpenCost and Kusto."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from opencost_kusto.cli import app
from opencost_kusto.database import script
from opencost_kusto.database.functions import functions
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.tables import TABLES
from opencost_kusto.version import __version__
from tests.support import forked
from tests.support.recorded import Emulator, another_cluster

ROOT = Path(__file__).parents[2]
HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
# What OpenCost answered of that hour, and of one scrape.
ROWS = {"OpenCostAllocation": 61, "OpenCostAssets": 19, "OpenCostMetrics": 1041}
# Actions of a command, which nobody wants to inherit from an environment.
WITHOUT_VARIABLE = {
    "--check",
    "--engine-only",
    "--from-kubeconfig",
    "--help",
    "--keep",
    "--list",
    "--migrate",
    "--print",
    "--version",
    "--write",
}
UNREACHABLE = "http://127.0.0.1:9"

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def servers() -> Iterator[Emulator]:
    """Both emulators, with the tables of `bootstrap`."""
    with Emulator(latency=0.05) as emulator:
        with Kusto(emulator.kusto_url, emulator.database, auth="none") as kusto:
            for command in script.commands("tables"):
                kusto.command(command.text)
        yield emulator


@pytest.fixture
def run(tmp_path: Path) -> Command:
    """Runs `opencost-kusto` in an empty folder, with an environment of its own."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    return lambda *arguments, **variables: forked.run(arguments, tmp_path, environment | variables)


def _run(arguments: list[str], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def _kusto(servers: Emulator) -> list[str]:
    return ["--kusto-uri", servers.kusto_url, "--database", servers.database, "--auth", "none"]


def _sync(servers: Emulator, *more: str) -> list[str]:
    return ["sync", "--endpoint", servers.opencost_url, "--window", HOUR, *_kusto(servers), *more]


def _written(servers: Emulator, *more: str) -> list[str]:
    return ["sync", "--endpoint", servers.opencost_url, "--window", HOUR, "--output", "-", *more]


def _rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _by_table(rows: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["BatchId"].partition("/")[0] for row in rows))


@pytest.fixture
def named(servers: Emulator) -> Iterator[None]:
    """The server is of a cluster of its own, which a test may give a name of its own."""
    with another_cluster(servers.opencost):
        yield


@pytest.mark.usefixtures("named")
def test_an_hour_lands_and_a_second_run_finds_it_landed(servers: Emulator, run: Command) -> None:
    """The first run lands every row, with an event for each batch and a table; the second finds them, and adds none."""
    cluster = ("--cluster", "twice")
    first = run(*_sync(servers, *cluster, "--run-id", "first"))
    assert first.returncode == 0, first.stderr
    assert "\x1b" not in first.stdout + first.stderr
    events = [re.sub(r"^\S+Z (INFO|WARNING) +", "", line) for line in first.stderr.splitlines()]
    hour = "2026-11-23T10:00:00Z 60m landed"
    assert f"twice allocation {hour}: 61 rows, cost 1.07208" in events
    assert any(re.fullmatch(rf"twice assets {hour}: 19 rows, cost 1\.\d+", line) for line in events), events
    assert any(re.fullmatch(r"twice metrics \S+Z 1m landed: 1,041 rows", line) for line in events)
    lines = first.stdout.splitlines()
    assert lines[0].split() == ["Cluster", "Dataset", "Outcome", "Batches", "Rows", "Cost"]
    assert [line.split() for line in lines[2:5]] == [
        ["twice", "allocation", "landed", "1", "61", "1.07"],
        ["twice", "assets", "landed", "1", "19", "1.35"],
        ["twice", "metrics", "landed", "1", "1,041"],
    ]
    assert ["Total", "3", "1,121"] in [line.split() for line in lines]
    assert lines[-1] == "3 batches of twice in run first: 3 landed; 1121 rows"

    second = run(*_sync(servers, *cluster, "--dataset", "allocation", "--dataset", "assets"))
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("already landed") == 3, second.stdout
    assert second.stdout.splitlines()[-1].endswith(": 2 already landed; 80 rows")

    with Kusto(servers.kusto_url, servers.database, auth="none") as kusto:
        for table, rows in ROWS.items():
            counted = kusto.query(f'{table} | where BatchId startswith "{table}/twice/" | summarize Rows = count()')
            assert counted == [{"Rows": rows}], table


@pytest.mark.usefixtures("named")
def test_json_is_one_document(servers: Emulator, run: Command) -> None:
    """With --json, stdout is one JSON document, and the lines for people are on stderr."""
    done = run(*_sync(servers, "-o", "json", "--cluster", "as-json", "--dataset", "assets", "--run-id", "j"))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {name: document[name] for name in ("run_id", "sources", "exit_code", "counts", "rows")} == {
        "run_id": "j",
        "sources": ["as-json"],
        "exit_code": 0,
        "counts": {"landed": 1},
        "rows": 19,
    }
    assets = document["batches"][0]
    assert (assets["table"], assets["outcome"], assets["rows"]) == ("OpenCostAssets", "landed", 19)
    assert "landed: 19 rows" in done.stderr


def test_json_reports_a_failure(run: Command, servers: Emulator) -> None:
    """With --json, a batch that fails is in the document, with its reason and the exit code of the process."""
    unrecorded = ("--window", "2026-11-23T10:07:00Z,2026-11-23T10:09:00Z")
    done = run(*_written(servers, "-o", "json", "--dataset", "allocation", "--output", "rows", *unrecorded))
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert document["exit_code"] == 3
    assert document["batches"][0]["outcome"] == "failed"
    assert "501" in document["batches"][0]["reason"]


def test_output_to_stdout_is_rows_and_nothing_else(servers: Emulator, run: Command) -> None:
    """`--output -` writes one JSON object per row to stdout, and what it did to stderr, without Kusto."""
    done = run(*_written(servers, "--dataset", "metrics"))
    assert done.returncode == 0, done.stderr
    assert _by_table(_rows(done.stdout)) == {"OpenCostMetrics": 1041}
    assert "written: 1,041 rows" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("1 written; 1041 rows")


def test_output_to_a_folder_is_a_file_for_each_table(servers: Emulator, run: Command, tmp_path: Path) -> None:
    """`--output DIR` makes the folder and a file of rows for each table, with the table's columns as keys."""
    done = run("sync", "--endpoint", servers.opencost_url, "--window", HOUR, "--output", "made/here")
    assert done.returncode == 0, done.stderr
    files = {path.name: _rows(path.read_text("utf-8")) for path in (tmp_path / "made" / "here").iterdir()}
    assert {name: len(rows) for name, rows in files.items()} == {f"{name}.ndjson": rows for name, rows in ROWS.items()}
    columns = {f"{table.name}.ndjson": {column.name for column in table.columns} for table in TABLES}
    for name, rows in files.items():
        assert all(row.keys() <= columns[name] for row in rows), name


def test_a_dataset_alone(servers: Emulator, run: Command) -> None:
    """`--dataset allocation` requests no other cost."""
    before = len(servers.opencost.requests)
    done = run(*_written(servers, "--dataset", "allocation"))
    assert done.returncode == 0, done.stderr
    assert _by_table(_rows(done.stdout)) == {"OpenCostAllocation": 61}
    requested = {request.path for request in servers.opencost.requests[before:]}
    assert "/allocation" in requested
    assert "/assets" not in requested


@pytest.mark.parametrize("spelled", ["disk", "Disk,LoadBalancer", "LOADBALANCER, node"])
def test_filter_types_filters(servers: Emulator, run: Command, spelled: str) -> None:
    """`--filter-types` keeps those asset types, in any case, by OpenCost's own filter."""
    wanted = {word.strip().lower() for word in spelled.split(",")}
    everything = _rows(run(*_written(servers, "--dataset", "assets")).stdout)
    done = run(*_written(servers, "--dataset", "assets", "--filter-types", spelled))
    assert done.returncode == 0, done.stderr
    kept = [row["Name"] for row in _rows(done.stdout)]
    assert sorted(kept) == sorted(row["Name"] for row in everything if row["Type"].lower() in wanted)
    assert 0 < len(kept) < len(everything)


def test_every_row_is_marked_with_the_run(servers: Emulator, run: Command, tmp_path: Path) -> None:
    """--run-id, --scenario-name and each --metadata are in every row, and all rows have one CollectionTime."""
    marks = ("--run-id", "r1", "--scenario-name", "s1", "--metadata", "team=shop", "--metadata", "note=a = b")
    done = run(*_written(servers, *marks, "--output", "rows"))
    assert done.returncode == 0, done.stderr
    rows = [row for path in (tmp_path / "rows").iterdir() for row in _rows(path.read_text("utf-8"))]
    assert _by_table(rows) == ROWS
    assert len({row["CollectionTime"] for row in rows}) == 1
    for row in rows:
        assert (row["RunId"], row["ScenarioName"]) == ("r1", "s1")
        assert row["Metadata"] == {"team": "shop", "note": "a = b"}


def test_idle_and_aggregate_reach_the_server(servers: Emulator, run: Command) -> None:
    """--aggregate, --include-idle and --share-idle are in the request, and in the rows."""
    idle = ("--dataset", "allocation", "--aggregate", "namespace", "--include-idle")
    done = run(*_written(servers, *idle))
    assert done.returncode == 0, done.stderr
    assert "__idle__" in {row["AllocationName"] for row in _rows(done.stdout)}
    requested = [request for request in servers.opencost.requests if request.path == "/allocation"][-1]
    assert (requested.param("aggregate"), requested.param("includeIdle"), requested.param("shareIdle")) == (
        "namespace",
        "true",
        None,
    )
    done = run(*_written(servers, *idle, "--share-idle"))
    assert done.returncode == 0, done.stderr
    requested = [request for request in servers.opencost.requests if request.path == "/allocation"][-1]
    assert (requested.param("includeIdle"), requested.param("shareIdle")) == ("true", "true")


@pytest.mark.usefixtures("named")
def test_options_can_be_set_in_the_environment(servers: Emulator, run: Command) -> None:
    """A sync without options uses those that variables set."""
    done = run(
        "sync",
        OPENCOST_KUSTO_ENDPOINT=servers.opencost_url,
        OPENCOST_KUSTO_WINDOW="2026-11-23T10:00:00Z,2026-11-23T12:00:00Z",
        OPENCOST_KUSTO_STEP="1h",
        OPENCOST_KUSTO_DATASET="allocation assets",
        OPENCOST_KUSTO_RUN_ID="from-variables",
        OPENCOST_KUSTO_METADATA="team=shop stage=test",
        OPENCOST_KUSTO_KUSTO_URI=servers.kusto_url,
        OPENCOST_KUSTO_DATABASE=servers.database,
        OPENCOST_KUSTO_AUTH="none",
        OPENCOST_KUSTO_WAIT="false",
        OPENCOST_KUSTO_CLUSTER="variables",
        OPENCOST_KUSTO_FORMAT="json",
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["run_id"], document["sources"]) == ("from-variables", ["variables"])
    assert document["counts"] == {"queued": 4}
    assert [batch["dataset"] for batch in document["batches"][:4]] == ["allocation", "assets"] * 2


def test_every_option_has_its_variable() -> None:
    """Each option of each command can be given as OPENCOST_KUSTO_<OPTION>, unless it is an action."""
    group: Any = typer.main.get_command(app)
    seen = 0
    for name, command in group.commands.items():
        for parameter in command.params:
            option = next((word for word in parameter.opts if word.startswith("--")), None)
            if option is None or option in WITHOUT_VARIABLE:
                continue
            seen += 1
            expected = "OPENCOST_KUSTO_" + option.removeprefix("--").replace("-", "_").upper()
            assert parameter.envvar == expected, f"{name} {option}"
    assert seen > 25


REFUSED = {
    "window": (["--window", "soon"], "'soon' is not a window"),
    "window in the future": (["--window", "2999-01-01"], "lies in the future"),
    "window and since": (["--since", "2026-11-23T10:00Z"], "Use either --window (or OPENCOST_KUSTO_WINDOW) or --since"),
    "settle": (["--settle", "soon"], "--settle 'soon' is not a duration"),
    "step": (["--step", "0h"], "is not a duration"),
    "aggregate": (["--aggregate", "pods"], "'pods'"),
    "filter types": (["--filter-types", "Dysk"], "'dysk'"),
    "metadata without =": (["--metadata", "team"], "is not key=value"),
    "metadata twice": (["--metadata", "a=1", "--metadata", "a=2"], "twice"),
    "endpoint": (["--endpoint", "localhost:9003"], "is not the address of an OpenCost"),
    "Kusto URI": (["--kusto-uri", "somewhere"], "is not the address of a Kusto cluster"),
    "URI with a password": (["--kusto-uri", "https://me:secret@host"], "carries no user, password"),
    "database": (["--database", "Open;Cost"], "is not the name of a Kusto database"),
    "auth": (["--auth", "guess"], "--auth guess is unknown"),
    "auth none over https": (["--kusto-uri", "https://c.kusto.windows.net"], "--auth none is for plain http"),
    "a token over http": (["--auth", "cli"], "must not carry a token"),
    "a secret that is not there": (
        ["--auth", "client-secret", "--kusto-uri", "https://c.kusto.windows.net"],
        "needs AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET",
    ),
    "dataset": (["--dataset", "costs"], "There is no dataset 'costs'"),
    "idle shared and not requested": (["--share-idle"], "add --include-idle"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_sentence(servers: Emulator, run: Command, case: str) -> None:
    """What cannot be done as requested ends with exit code 2 and one line that says why, before any request."""
    arguments, message = REFUSED[case]
    before = len(servers.opencost.requests)
    done = run(*_sync(servers, *arguments))
    lines = [line for line in done.stderr.splitlines() if "INFO    Kusto: " not in line]
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done.stderr
    assert lines[0].startswith("opencost-kusto: ")
    assert message in lines[0]
    assert "secret@" not in done.stderr
    assert len(servers.opencost.requests) == before


@pytest.mark.parametrize(
    ("moment", "message"), [("an hour ago", "is not a time"), ("2999-01-01", "lies in the future")]
)
def test_since_no_moment_is_refused(servers: Emulator, run: Command, moment: str, message: str) -> None:
    """A --since that is no time, or in the future, ends with exit code 2 and one line, without a wait."""
    done = run("sync", "--endpoint", servers.opencost_url, *_kusto(servers), "--since", moment)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("command", ["sync", "bootstrap"])
def test_kusto_must_be_named(run: Command, command: str) -> None:
    """Without --kusto-uri and --database, one sentence names both, and the exit code is 2."""
    done = run(command)
    assert (done.returncode, done.stdout) == (2, "")
    named = "--kusto-uri (or OPENCOST_KUSTO_KUSTO_URI) and --database (or OPENCOST_KUSTO_DATABASE)"
    # A note about the window may stand before it.
    assert named in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["sync", "--timeout", "long"], ["sync", "--invented"], ["synch"]])
def test_arguments_that_are_no_options(run: Command, arguments: list[str]) -> None:
    """A command line that cannot be parsed ends with exit code 2 and no traceback."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert re.search(r"--timeout|--invented|synch", done.stderr)


def test_an_output_folder_that_cannot_be_made(servers: Emulator, run: Command, tmp_path: Path) -> None:
    """An output folder below a file ends with exit code 2 and one sentence."""
    (tmp_path / "file").write_text("here already", "utf-8")
    done = run(*_written(servers, "--output", "file/below"))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert "cannot be created" in done.stderr


def test_an_output_file_that_cannot_be_written(servers: Emulator, run: Command, tmp_path: Path) -> None:
    """A file that cannot be opened in the output folder ends with exit code 2 and no traceback."""
    (tmp_path / "out" / "OpenCostAssets.ndjson").mkdir(parents=True)
    done = run(*_written(servers, "--dataset", "assets", "--output", "out"))
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


def test_no_opencost(servers: Emulator, run: Command) -> None:
    """Where nothing listens, the exit code is 3 and one sentence names the address."""
    done = run(*_written(servers, "--endpoint", UNREACHABLE, "--dataset", "assets", "--request-timeout", "1"))
    *retries, last = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert all("WARNING Retrying in " in line for line in retries)
    assert last.startswith(f"opencost-kusto: OpenCost at {UNREACHABLE}/clusterInfo cannot be reached")


@pytest.mark.parametrize("arguments", [["--help"], ["sync", "--help"], ["--version"], ["tables"]])
def test_what_needs_no_azure_does_not_import_it(run: Command, arguments: list[str], tmp_path: Path) -> None:
    """Help, version and dictionary are printed without importing anything of Azure."""
    assert run(*arguments).returncode == 0
    assert _azure_after(arguments, tmp_path) == []


def test_a_dry_run_does_not_import_azure(servers: Emulator, tmp_path: Path) -> None:
    """`sync --output -` imports nothing of Azure."""
    assert _azure_after(_written(servers, "--dataset", "allocation"), tmp_path) == []


def _azure_after(arguments: list[str], folder: Path) -> list[str]:
    """The Azure modules that are imported when `main` has run."""
    program = (
        "import json, sys\nfrom opencost_kusto import cli\nsys.argv[0] = 'opencost-kusto'\ntry:\n    cli.main()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] == 'azure']), file=sys.stderr)"
    )
    done = _run([sys.executable, "-c", program, *arguments], folder, {})
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stderr.splitlines()[-1]))


def test_version(run: Command) -> None:
    """`--version` prints the version alone."""
    assert run("--version").stdout == f"{__version__}\n"


def test_the_dictionary_lists_every_column(run: Command) -> None:
    """`tables` has a line for each column of each table, below the table's name."""
    done = run("tables")
    assert done.returncode == 0, done.stderr
    sections = dict(re.findall(r"^(\w+): .*\n((?:  .*\n)*)", done.stdout, re.MULTILINE))
    assert [name for name in sections if name != "Functions"] == [table.name for table in TABLES]
    assert all(function.signature in done.stdout for function in functions())
    for table in TABLES:
        lines = sections[table.name].splitlines()
        for column in table.columns:
            assert any(re.match(rf"  {column.name} +{column.type} ", line) and column.doc in line for line in lines)


def test_the_dictionary_as_json(run: Command) -> None:
    """`tables --json` is one JSON document with each column's name, type, source and sentence."""
    done = run("tables", "-o", "json")
    assert done.returncode == 0, done.stderr
    document = {table["name"]: table for table in json.loads(done.stdout)["tables"]}
    assert list(document) == [table.name for table in TABLES]
    for table in TABLES:
        columns = document[table.name]["columns"]
        assert [(c["name"], c["type"], c["doc"]) for c in columns] == [(c.name, c.type, c.doc) for c in table.columns]
        assert all(c["source"] for c in columns)


def test_bootstrap_prints_every_command_without_kusto(run: Command) -> None:
    """`bootstrap --print` writes every bundled command with its place, and needs no database."""
    done = run("bootstrap", "--print")
    assert (done.returncode, done.stderr) == (0, "")
    bundled = list(script.commands())
    assert bundled
    for command in bundled:
        assert f"// {command.place}\n{command.text}\n" in done.stdout
    printed = [command.text for command in script.parse(done.stdout, Path("printed.kql"))]
    assert printed == [command.text for command in bundled]


def test_bootstrap_checks_and_converges(run: Command) -> None:
    """`--check` fails on an empty database, bootstrap fixes it, and then both find nothing to do."""
    with Emulator() as servers:
        arguments = ["bootstrap", *_kusto(servers)]
        before = run(*arguments, "--check")
        assert (before.returncode, before.stdout) == (5, ""), before.stderr
        assert "table OpenCostAllocation is missing (tables/OpenCostAllocation.kql:" in before.stderr
        assert "Traceback" not in before.stderr
        made = run(*arguments)
        assert made.returncode == 0, made.stderr
        assert made.stdout.splitlines()[-1] == f"{len(list(script.commands()))} commands run."
        again = run(*arguments)
        assert (again.returncode, again.stdout) == (0, "OpenCost is up to date; nothing changed.\n"), again.stderr
        after = run(*arguments, "--check")
        assert (after.returncode, after.stdout) == (0, "OpenCost holds everything that is declared.\n")


@pytest.mark.usefixtures("named")
def test_a_reader_who_leaves_does_not_end_the_run(servers: Emulator, tmp_path: Path) -> None:
    """With `| head -1` the run continues to its end in silence, and ends with its own code."""
    arguments = [sys.executable, "-m", "opencost_kusto", *_sync(servers, "--cluster", "unread")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        message = process.stderr.read()
    assert (process.returncode, "pipe" in message) == (0, False), message
    with Kusto(servers.kusto_url, servers.database, auth="none") as kusto:
        unread = 'OpenCostSyncRuns | where Source == "unread" and isnotempty(BatchId)'
        counted = kusto.query(f"{unread} | summarize Rows = count()")
    assert counted == [{"Rows": 3}]
