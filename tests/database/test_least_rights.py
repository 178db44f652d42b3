"""From no right at all to a run: what a refusal prints is enough, when somebody who may runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import pytest

from opencost_kusto.database import assumptions, doctor
from opencost_kusto.database.bootstrap import Bootstrapped, bootstrap
from opencost_kusto.database.finding import Finding, Status
from opencost_kusto.database.functions import functions
from opencost_kusto.emulator import KustoEmulator
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.kusto.rights import TASKS, Task

PRINCIPALS = (f"aadapp=11111111-0000-4000-8000-{number:012};22222222-0000-4000-8000-000000000002" for number in count())
GRANT = re.compile(r"\.add (?:database|table) \S+ \w+ \('[^']+'\)")


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
    text = "\n".join(f"{one.message}\n{one.cure}" for one in found)
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
        assert not [one for one in tried if "not authorized" in one.message]
        assert tried[-1].message.endswith("is dropped")


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


def test_who_bootstraps_an_empty_database_is_a_user(principal: str) -> None:
    """Creating needs Database User and no more, and the same identity upgrades what it created."""
    with KustoEmulator(latency=0) as emulator:
        with emulator.door(principal, "viewers") as door, Kusto(door.url, emulator.database, auth="none") as viewer:
            with pytest.raises(KustoError) as refused:
                bootstrap(viewer)
            assert refused.value.code is ReasonCode.FORBIDDEN
            assert refused.value.cure == f".add database ['OpenCost'] users ('{principal}')"
        [role] = task("bootstrap").roles
        with emulator.door(principal, role) as door, Kusto(door.url, emulator.database, auth="none") as user:
            assert bootstrap(user).changed > len(functions())
            for command in DRIFT:
                user.command(command)
            assert bootstrap(user) == Bootstrapped(len(DRIFT))
            assert bootstrap(user).changed == 0


# What an upgrade meets: a docstring, a policy and a function that are older.
DRIFT = (
    '.alter table OpenCostAssets docstring "Older."',
    '.alter-merge table OpenCostAssets policy ingestionbatching ```{"MaximumNumberOfItems": 7}```',
    ".create-or-alter function OpenCostCurrencies() { OpenCostSyncRuns | distinct Cluster }",
)


@pytest.fixture
def older(admin: Kusto) -> Iterator[Kusto]:
    """A database that another identity created, with an older version; up to date again afterwards."""
    for command in DRIFT:
        admin.command(command)
    yield admin
    bootstrap(admin)


def upgrade_lines(admin: Kusto, principal: str, withheld: str = "") -> list[str]:
    """The lines of the guide for an upgrade by another identity, without those about databases, tables or functions."""
    names = [one.name for one in functions()]
    lines = task("bootstrap by another identity").grants(admin.database, principal, names)
    return [line for line in lines if line.split()[1] != withheld]


def test_an_upgrade_by_another_identity(older: Kusto, kusto: Kusto, principal: str) -> None:
    """Database User, Table Admin and Function Admin are enough."""
    for line in upgrade_lines(older, principal):
        older.command(line)
    found = {one.hop: one for one in doctor.rights(kusto)}
    assert found["right to bootstrap by another identity"].status is Status.OK
    assert bootstrap(kusto) == Bootstrapped(len(DRIFT))
    assert bootstrap(kusto).changed == 0


@pytest.mark.parametrize("withheld", ["database", "function"])
def test_an_upgrade_ends_without_the_right_to_it(older: Kusto, kusto: Kusto, principal: str, withheld: str) -> None:
    """Without the right to read the schema, or to alter functions, the refusal names the line."""
    for line in upgrade_lines(older, principal, withheld):
        older.command(line)
    with pytest.raises(KustoError) as refused:
        bootstrap(kusto)
    assert refused.value.code is ReasonCode.FORBIDDEN
    assert principal in refused.value.cure


def test_an_upgrade_leaves_what_it_may_not_alter(older: Kusto, kusto: Kusto, principal: str) -> None:
    """Docstrings and policies are optional: without Table Admin they are notes, and functions are upgraded."""
    for line in upgrade_lines(older, principal, "table"):
        older.command(line)
    done = bootstrap(kusto)
    assert (done.changed, len(done.refused)) == (1, 2)
    assert all(one.error.code is ReasonCode.FORBIDDEN for one in done.refused)
