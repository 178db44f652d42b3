"""Every command line of the README and the guides is one that the program takes, and those that read or load work."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from opencost_kusto.cli import app, demo
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import CLUSTERS, Emulator
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.window import Window
from tests.support.documents import GUIDES, README

PAGES = {"README": README, **GUIDES}
GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
# Signs that end a command in a shell.
ENDS = {"|", "||", "&", "&&", ";", ">", ">>", "<"}
# Commands that end by themselves, need nothing but both servers, and change no more than the tables.
RUN = {"bootstrap", "cost", "guide", "query", "status", "sync", "tables"}
# What a line says of the reader's own, by what it is here; a day in one window is the same and takes less time.
OURS = {"cli": "none", "prod": CLUSTERS[0], "1h": "1d"}
# Lines that need something else: a template, another route, a file, a wait for the end of the window.
NEEDS_MORE = re.compile(r"…|kube://|/proxy|/var/run/|--since")


def lines(page: str) -> Iterator[list[str]]:
    """The arguments of each command line of the program in a page's blocks of code, without the program's name."""
    for block in re.findall(r"^```\w+\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        text = ""
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if not text and ("opencost-kusto " not in line or line.lstrip().startswith(("#", "//", "image:"))):
                continue
            text += f"{line}\n"
            try:
                found = _split(text.partition("opencost-kusto ")[2])
            except ValueError:
                # A quoted text goes on in the next line.
                continue
            text = ""
            if found and found[0] in COMMANDS:
                yield found[: next((end for end, word in enumerate(found) if word in ENDS), len(found))]


def _split(text: str) -> list[str]:
    """The words of a shell's command line; signs such as | are words of their own."""
    arguments = shlex.shlex(text, posix=True, punctuation_chars=True)
    arguments.whitespace_split = True
    return list(arguments)


ALL = [(name, arguments) for name, page in PAGES.items() for arguments in lines(page)]


def test_there_are_lines_to_check() -> None:
    """The pages have command lines, and the reader of pages finds them."""
    assert len(ALL) > 20
    assert {arguments[0] for _, arguments in ALL} >= {"sync", "bootstrap", "run", "cost", "demo"}


@pytest.mark.parametrize(
    ("page", "arguments"), ALL, ids=[f"{name}: {' '.join(arguments)[:60]}" for name, arguments in ALL]
)
def test_a_line_is_one_that_the_program_takes(
    page: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Command, options and the kinds of their values exist as they are written; so does the file of the guide."""
    monkeypatch.chdir(tmp_path)
    [settings, *_] = re.findall(r"^```toml\n(.*?)^```", GUIDES["configuration"], re.MULTILINE | re.DOTALL)
    Path("opencost-kusto.toml").write_text(settings, "utf-8")
    root = typer.Context(GROUP, info_name="opencost-kusto")
    assert COMMANDS[arguments[0]].make_context(arguments[0], arguments[1:], parent=root).params, page


@pytest.mark.slow
def test_lines_that_read_or_load_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the live emulator, with its addresses for the reader's, each such line does what its page says."""
    monkeypatch.chdir(tmp_path)
    done = set()
    with Emulator(latency=0) as emulated, Kusto(emulated.kusto_url, emulated.database, auth="none") as kusto:
        bootstrap(kusto)
        defaults = {"KUSTO_URI": emulated.kusto_url, "DATABASE": emulated.database, "AUTH": "none"}
        for name, value in {**defaults, "ENDPOINT": emulated.opencost_url}.items():
            monkeypatch.setenv(f"OPENCOST_KUSTO_{name}", value)
        with OpenCost(emulated.opencost_url, cluster=CLUSTERS[0]) as opencost:
            for hour, run in enumerate(("test-41", "test-42")):
                end = demo.last_day(emulated.now()).end - timedelta(hours=hour)
                sync(opencost, kusto, SyncRequest(Window(end - timedelta(hours=1), end)), run=new_run(run))
        for page, arguments in ALL:
            message = " ".join(arguments)
            if arguments[0] not in RUN or NEEDS_MORE.search(message) or message in done:
                continue
            done.add(message)
            mine = [OURS.get(word, emulated.kusto_url if "CLUSTER.REGION" in word else word) for word in arguments]
            assert _exit_code(mine) == 0, f"{page}: {message}"
    assert done


def _exit_code(arguments: list[str]) -> int:
    """Run a command in this process; errors are raised."""
    try:
        app(arguments, standalone_mode=False)
    except typer.Exit as ended:
        return ended.exit_code
    return 0
