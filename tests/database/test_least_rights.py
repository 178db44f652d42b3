"""From no right at all to a run: what a refusal prints is enough, when somebody who may runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import pytest

from opencost_kusto.database import assumptions, doctor
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.database.finding import Finding, Status
from opencost_kusto.emulator import KustoEmulator
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.kusto.rights import TASKS, Task

PRINCIPALS = (f"aadapp=11111111-0000-4000-8000-{number:012};22222222-0000-4000-8000-000000000002" for number in count())
GRANT = re.compile(r"\.add (?:database|table) \S+ \w+ \('[^']+'\)")


@pytest.fixture(scope="module")
def emulator() -> Iterator[KustoEmulator]:
    """A Kusto that somebody else has bootstrapped."""
    with KustoEmulator(latency=0) as emulator:
        with Kusto(emulator.url, emulator.database, auth="none") as kusto:
            bootstrap(kusto)
        yield emulator


@pytest.fixture
def admin(emulator: KustoEmulator) -> Iterator[Kusto]:
    """Who may grant rights."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        yield kusto


@pytest.fixture
def principal() -> str:
    """An identity without any right."""
    return next(PRINCIPALS)


@pytest.fixture
def kusto(emulator: KustoEmulator, principal: str) -> Iterator[Kusto]:
    """The client of that identity."""
    with (
        emulator.door(principal) as door,
        Kusto(door.url, emulator.database, auth="none", deadlines=Deadlines(query=20)) as kusto,
    ):
        yield kusto


def task(command: str) -> Task:
    """The task that a command belongs to."""
    return next(task for task in TASKS if command in task.commands)


def failures(found: list[Finding]) -> list[Finding]:
    """The hops that failed."""
    return [one for one in found if one.status is Status.FAILED]


def test_pasting_what_the_doctor_prints_leads_to_a_run(admin: Kusto, kusto: Kusto, principal: str) -> None:
    """Each failure names commands; an administrator runs them as they are, and the next look is better."""
    pasted: list[str] = []
    for _ in range(5):
        failed = failures(list(doctor.examine(kusto)))
        if not failed:
            break
        commands = [line.replace("aadapp=<client id>;<tenant id>", principal) for line in printed(failed)]
        assert commands, failed
        assert not set(commands) & set(pasted), "what was printed did not help"
        pasted += commands
        for command in commands:
            admin.command(command)
    assert failures(list(doctor.examine(kusto))) == []
    assert set(pasted) == set(task("sync").grants(kusto.database, principal))
    doctor.ready(kusto)


def printed(found: list[Finding]) -> list[str]:
    """The grants in what was said and in the cures, each once; no table here has restricted view access."""
    text = "\n".join(f"{one.said}\n{one.cure}" for one in found)
    return [line for line in dict.fromkeys(GRANT.findall(text)) if "unrestrictedviewers" not in line]


@pytest.mark.parametrize("command", ["sync", "sync --replace", "doctor --write"])
def test_the_grants_of_a_task_are_enough(admin: Kusto, kusto: Kusto, principal: str, command: str) -> None:
    """After the lines of the table of rights, the doctor finds nothing missing for the task."""
    for line in task(command).grants(admin.database, principal):
        admin.command(line)
    found = {one.hop: one for one in doctor.examine(kusto)}
    assert found[f"right to {command}"].status is Status.OK
    if command == "doctor --write":
        tried = list(assumptions.examine(kusto, sleep=lambda _: None))
        assert not [one for one in tried if "not authorized" in one.said]
        assert tried[-1].said.endswith("is dropped")


def test_no_grant_of_a_sync_is_too_much(admin: Kusto, kusto: Kusto, principal: str) -> None:
    """Without any one line, the doctor names exactly that line."""
    lines = task("sync").grants(admin.database, principal)
    for line in lines:
        admin.command(line)
    for line in lines:
        admin.command(line.replace(".add", ".drop"))
        [one] = [one for one in doctor.rights(kusto) if one.hop == "right to sync"]
        assert one.status is Status.FAILED
        assert one.cure.replace("aadapp=<client id>;<tenant id>", principal) == line
        admin.command(line)


def test_bootstrap_needs_what_the_table_says(admin: Kusto, kusto: Kusto, principal: str) -> None:
    """A viewer is refused with the line that helps; with it, bootstrap runs, and a second time changes nothing."""
    admin.command(f".add database ['{admin.database}'] viewers ('{principal}')")
    admin.command(".drop table OpenCostMetrics")
    with pytest.raises(KustoError) as refused:
        bootstrap(kusto)
    assert refused.value.code is ReasonCode.FORBIDDEN
    [line] = task("bootstrap").grants(admin.database, principal)
    assert line in str(refused.value)
    admin.command(line)
    assert bootstrap(kusto).changed
    assert bootstrap(kusto).changed == 0
