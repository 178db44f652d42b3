"""Run the previous release and this one against each other's schema, and record what happens.

    python -m tests.upgrade.skew          builds the previous release with git and pip; records tests/data/upgrade.json
    python -m tests.upgrade.skew --check  compares with what is recorded instead, where this clone has that release

Both are commands of their own, against one emulator. The previous release is PREVIOUS, the main branch before this one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from opencost_kusto.emulator import Emulator
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto
from tests.support.documents import ROOT

PREVIOUS = "1bc3538"
RECORDED = ROOT / "tests" / "data" / "upgrade.json"
_PROOF = """OpenCostAllocation
| summarize Rows = count(), Numbered = countif(isnotnull(RowNumber)), Cost = round(sum(TotalCost), 5)"""


def previous(folder: Path) -> Path:
    """The previous release, installed in a folder without what it needs, which is here already."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "x", "-C", source], input=archive, check=True)
    installed = str(folder / "installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", installed, str(source)]
    subprocess.run(pip, check=True)
    return folder / "installed"


@dataclass
class Skew:
    """An emulator, and the programs of both releases."""

    emulated: Emulator
    programs: dict[str, Path]

    def __post_init__(self) -> None:
        self.kusto = ["--kusto-uri", self.emulated.kusto_url, "--database", self.emulated.database, "--auth", "none"]
        self.hour = self.emulated.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)

    def run(self, release: str, *arguments: str) -> dict[str, Any]:
        """Run a command of a release: its exit code, and the sentences that say what to do."""
        environment = os.environ | {"PYTHONPATH": str(self.programs[release])}
        command = [sys.executable, "-m", "opencost_kusto", *arguments, *self.kusto]
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
        return {
            "exit_code": done.returncode,
            "says_bootstrap": "Run opencost-kusto bootstrap" in done.stdout + done.stderr,
        }

    def bootstrap(self, release: str) -> None:
        """Run the commands of a release's bootstrap, and leave out those that Kusto refuses."""
        environment = os.environ | {"PYTHONPATH": str(self.programs[release])}
        command = [sys.executable, "-m", "opencost_kusto", "bootstrap", "--print"]
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True)
        with Kusto(self.emulated.kusto_url, self.emulated.database, auth="none") as kusto:
            for text in commands(done.stdout):
                try:
                    kusto.command(text)
                except KustoError as error:
                    print(f"  refused: {error}"[:200])

    def sync(self, release: str) -> dict[str, Any]:
        """Sync one hour of allocations: the exit code, and what the table holds then."""
        bounds = f"{self.hour:%Y-%m-%dT%H:%M:%SZ},{self.hour + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        url = self.emulated.opencosts[0].url
        ended = self.run(release, "sync", "--endpoint", url, "--dataset", "allocation", "--window", bounds)
        with Kusto(self.emulated.kusto_url, self.emulated.database, auth="none") as kusto:
            try:
                [held] = kusto.query(_PROOF)
            except KustoError:
                [held] = kusto.query("OpenCostAllocation | summarize Rows = count(), Cost = round(sum(TotalCost), 5)")
        return ended | {"rows": held["Rows"], "numbered": held.get("Numbered", 0), "cost": held["Cost"]}


def commands(script: str) -> list[str]:
    """The commands of what `bootstrap --print` writes: each stands below a line with its place."""
    return [text for text in map(str.strip, re.split(r"^// \S+\.kql:\d+$", script, flags=re.MULTILINE)) if text]


def play(skew: Skew) -> Iterator[tuple[str, dict[str, Any]]]:
    """Upgrade and roll back, with pods of both releases before, between and after."""
    skew.bootstrap("previous")
    yield "previous pod, previous schema", skew.sync("previous")
    yield "this pod, previous schema", skew.sync("this")
    yield "this bootstrap --check, previous schema", skew.run("this", "bootstrap", "--check")
    yield "this bootstrap", skew.run("this", "bootstrap")
    yield "previous pod, this schema", skew.sync("previous")
    yield "this pod, this schema", skew.sync("this")
    yield "previous pod again, this schema", skew.sync("previous")
    skew.hour -= timedelta(hours=1)
    yield "previous pod, this schema, new window", skew.sync("previous")
    yield "this pod mends it", skew.sync("this")
    skew.bootstrap("previous")
    skew.hour -= timedelta(hours=1)
    yield "this pod after rolling the schema back", skew.sync("this")
    yield "previous pod after rolling the schema back", skew.sync("previous")
    yield "this bootstrap again", skew.run("this", "bootstrap")
    yield "this pod mends it again", skew.sync("this")


def ending(facts: dict[str, Any]) -> tuple[Any, ...]:
    """How a step ended: not how many rows an hour of the emulator has, which depends on the time of day."""
    return facts["exit_code"], facts["says_bootstrap"], facts.get("rows") == facts.get("numbered")


def main(arguments: Sequence[str]) -> int:
    """Play it, and record every step; with --check, return 1 if one ends otherwise than recorded."""
    check = "--check" in arguments
    if check and subprocess.run(["git", "cat-file", "-e", PREVIOUS], cwd=ROOT, stderr=subprocess.DEVNULL).returncode:
        print(f"This clone has no commit {PREVIOUS}, so the previous release is not played.")
        return 0
    with tempfile.TemporaryDirectory() as folder, Emulator() as emulated:
        skew = Skew(emulated, {"previous": previous(Path(folder)), "this": ROOT})
        recorded = {}
        for name, facts in play(skew):
            print(f"{name}: {facts}", flush=True)
            recorded[name] = facts
    if check:
        before = json.loads(RECORDED.read_text("utf-8"))["steps"]
        differ = [name for name, facts in before.items() if ending(facts) != ending(recorded[name])]
        print(f"Not as recorded: {', '.join(differ)}." if differ else "Every step ends as recorded.")
        return int(bool(differ))
    RECORDED.write_text(json.dumps({"previous": PREVIOUS, "steps": recorded}, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
