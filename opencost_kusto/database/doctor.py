"""The Kusto half of `doctor`: each hop from signing in to the policies of the tables. Reads only."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial

from opencost_kusto.database.catalog import Catalog
from opencost_kusto.database.compare import differences
from opencost_kusto.database.finding import Finding, Status, failed, guarded
from opencost_kusto.database.functions import functions
from opencost_kusto.database.policy_checks import policies
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.kusto.rights import ANY_PRINCIPAL, TASKS, Role, Task, admin, grant
from opencost_kusto.schema.tables import TABLES
from opencost_kusto.times import utc_now

Check = Callable[[Kusto], Iterable[Finding]]
# With a larger difference, windows that have not ended may be requested.
_SKEW = timedelta(minutes=5)
# A cluster with this number of slots ingests batches one after the other.
_FEW_SLOTS = 2
# The roles that a role includes: https://learn.microsoft.com/kusto/access-control/role-based-access-control
_INCLUDES = {
    "admin": {Role.ADMIN, Role.USER, Role.VIEWER, Role.INGESTOR},
    "user": {Role.USER, Role.VIEWER},
    "viewer": {Role.VIEWER},
    "ingestor": {Role.INGESTOR},
    "unrestrictedviewer": {Role.UNRESTRICTED_VIEWER},
}


def examine(
    kusto: Kusto,
    *,
    engine_only: bool = False,
    now: Callable[[], datetime] | None = None,
    more: Iterable[tuple[str, Check]] = (),
) -> Iterator[Finding]:
    """Every hop, in the order in which a run needs them; nothing after a failed sign-in is tried.

    `more` are checks of the caller, after the schema.
    """
    first = list(guarded("sign-in", partial(signed_in, kusto)))
    yield from first
    if any(one.status is Status.FAILED for one in first):
        return
    clock = partial(clocks, kusto, now or utc_now)
    yield from guarded("clock", clock, optional=True)
    checks: list[tuple[str, Check, bool]] = [
        ("engine", engine, True),
        ("rights", rights, True),
        ("ingestion", ingestion, False),
        ("storage", storage, False),
        ("schema", schema, False),
        *((hop, check, True) for hop, check in more),
        ("capacity", capacity, True),
        ("policies", policies, True),
    ]
    skipped = {"ingestion", "storage"} if engine_only else set()
    for hop, check, optional in checks:
        if hop in skipped:
            continue
        found = list(guarded(hop, partial(check, kusto), optional=optional))
        yield from found
        if hop == "ingestion" and found[0].status is Status.FAILED:
            # Without the ingestion endpoint the storage is unknown.
            skipped.add("storage")


def ready(kusto: Kusto, *, patient: bool = False) -> None:
    """The first checks of a command that loads rows: sign in, read, and reach the storage. Raises KustoError.

    A `patient` command, with a spool or a schedule, continues after an error that may pass.
    """
    try:
        kusto.check()
        kusto.storage.ready(kusto.deadlines.check)
    except KustoError as error:
        if not (patient and error.transient):
            raise


def signed_in(kusto: Kusto) -> Iterator[Finding]:
    """The first query, the credential that issued the token, and its identity."""
    began = time.monotonic()
    kusto.check()
    took = time.monotonic() - began
    who, by = _principal(kusto), kusto.signed_in_by
    how = f"--auth {kusto.auth}{by and f' ({by})'}{who and f' as {who}'}"
    yield Finding("sign-in", Status.OK, f"{kusto.uri}, database {kusto.database}, {how}; {took:.2f} s")


def clocks(kusto: Kusto, now: Callable[[], datetime]) -> Iterator[Finding]:
    """The difference of the database's clock and this machine's."""
    skew = abs(kusto.now() - now())
    status = Status.NOTE if skew > _SKEW else Status.OK
    yield Finding("clock", status, f"Kusto's clock and this machine's differ by {skew.total_seconds():.0f} s")


def engine(kusto: Kusto) -> Iterator[Finding]:
    """The version of the engine: https://learn.microsoft.com/kusto/management/show-version."""
    row = kusto.command(".show version")[0]
    yield Finding("engine", Status.OK, f"{row.get('ServiceType', '')} {row.get('BuildVersion', '')}".strip())


def rights(kusto: Kusto) -> Iterator[Finding]:
    """The roles of the identity, compared with what each task requires; the cure grants what is missing."""
    held: set[Role] = set()
    for row in kusto.command(f".show database ['{kusto.database}'] principal roles"):
        role = re.sub(r"\s", "", str(row["Role"])).lower()
        held |= next((roles for name, roles in _INCLUDES.items() if _ends(role, name)), set())
    who = _principal(kusto) or ANY_PRINCIPAL
    # A Database Admin is the admin of everything; any other identity needs a role that reads to see the schema.
    reads = Role.VIEWER in held and Role.ADMIN not in held
    catalog = Catalog.read(kusto) if reads else Catalog(kusto, {}, {})
    foreign = [one.name for one in TABLES if one.name in catalog.tables and not _is_admin(kusto, "table", one.name)]
    existing = [one.name for one in functions() if one.name in catalog.functions]
    # One that is missing is enough.
    all_functions = all(_is_admin(kusto, "function", name) for name in existing)
    for task in TASKS:
        yield _right(task, held, foreign, all_functions, kusto.database, who)


def _ends(role: str, name: str) -> bool:
    """Whether a role such as `databaseopencostviewer` has this name; `unrestrictedviewer` is not `viewer`."""
    return role.endswith(name) and not (name == "viewer" and role.endswith("unrestrictedviewer"))


def _is_admin(kusto: Kusto, kind: str, name: str) -> bool:
    """Whether the identity is an admin of a table or function; False where Kusto refuses to list them."""
    try:
        rows = kusto.command(f".show {kind} {name} principal roles")
    except KustoError:
        return False
    return any(str(row["Role"]).lower().endswith("admin") for row in rows)


def _right(task: Task, held: set[Role], foreign: list[str], all_functions: bool, database: str, who: str) -> Finding:
    lines = [grant(role, database, who) for role in task.roles if role not in held]
    if task.table_admin:
        lines += [admin("table", name, who) for name in foreign]
    if task.function_admin and not all_functions:
        # One line instead of one for each table and function.
        lines = [grant(Role.ADMIN, database, who)]
    hop = f"right to {task.commands[0]}"
    if not lines:
        return Finding(hop, Status.OK, ", ".join(task.commands))
    # Only rights that every run requires are failures.
    needed = "sync" in task.commands
    status, code = (Status.FAILED, KustoError.exit_code) if needed else (Status.NOTE, 0)
    return Finding(hop, status, f"missing. {task.why}", "\n".join(lines), code)


def ingestion(kusto: Kusto) -> Iterator[Finding]:
    """The ingestion endpoint, and the right to ingest."""
    began = time.monotonic()
    containers, queues = kusto.storage.resources()
    took = time.monotonic() - began
    result = f"{kusto.ingest_uri}: {len(containers)} containers, {len(queues)} queues; {took:.2f} s"
    yield Finding("ingestion", Status.OK, result)


def storage(kusto: Kusto) -> Iterator[Finding]:
    """Each storage host, for blobs and for messages; a firewall may block it even if the cluster is reachable."""
    for one in kusto.storage.reach(kusto.deadlines.check):
        hop = f"storage of {one.kind}"
        if one.error is None:
            yield Finding(hop, Status.OK, f"{one.host} responds; {one.seconds:.2f} s")
        else:
            yield failed(hop, one.error)


def schema(kusto: Kusto) -> Iterator[Finding]:
    """The tables, mappings and functions of this version."""
    found = list(differences(kusto))
    needed = [one.what for one in found if one.required]
    args = ("opencost-kusto", "bootstrap", "--kusto-uri", kusto.uri, "--database", kusto.database)
    cure = shlex.join(args)
    if needed:
        yield Finding("schema", Status.FAILED, _some(needed), cure, KustoError.exit_code)
    elif found:
        yield Finding("schema", Status.NOTE, _some([one.what for one in found]), cure)
    else:
        yield Finding("schema", Status.OK, "tables, mappings, policies and functions are those of this version")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{'; '.join(names[:3])}{more}"


def capacity(kusto: Kusto) -> Iterator[Finding]:
    """The number of concurrent ingestions: https://learn.microsoft.com/kusto/management/show-capacity-command."""
    for row in kusto.command(".show capacity ingestions"):
        if str(row["Resource"]).lower().startswith("ingestion"):
            total = int(row["Total"])
            few = total <= _FEW_SLOTS
            result = f"{total} ingestions at once, {row['Remaining']} free"
            more = "; each batch is one ingestion, so a backfill goes one after the other" if few else ""
            yield Finding("capacity", Status.NOTE if few else Status.OK, result + more)


def _principal(kusto: Kusto) -> str:
    """The signed-in identity, as `.add database` names it; empty if the engine does not return it."""
    try:
        return str(kusto.query("print Principal = current_principal()")[0]["Principal"] or "")
    except KustoError:
        return ""
