"""`doctor`: every hop from OpenCost to the tables, its result, and the command that fixes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

import msgspec
import typer

from opencost_kusto.batch import Batch, RequestOptions, Source
from opencost_kusto.cli.console import Console, Format
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.source_options import SourceOptions
from opencost_kusto.database import assumptions, doctor
from opencost_kusto.database.finding import Finding, Status, failed, guarded
from opencost_kusto.errors import EmptyError, OpenCostError, ReasonCode, UsageError
from opencost_kusto.extract.capabilities import spelled
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.identity import cautions, refusal
from opencost_kusto.pipeline.name_entries import entries_of
from opencost_kusto.rendering import printable, table_of
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.times import utc_now
from opencost_kusto.version import __version__
from opencost_kusto.window import Window, stamp

_SKEW = timedelta(minutes=5)
_HOUR = timedelta(hours=1)
_GUIDE = "opencost-kusto guide kubernetes"
_FAULTS = "opencost-kusto guide faults"
_FORWARD = "kubectl port-forward -n opencost service/opencost 9003:9003"
# Exit codes in the order in which to fix their causes: names, the source, Kusto, content, time.
_WORST = (2, 3, 5, 4, 6, 8)


class _Priced(msgspec.Struct, rename="camel"):
    total_cost: float = 0.0


def doctor_command(
    source: SourceOptions,
    kusto_options: KustoOptions,
    engine_only: Annotated[
        bool, typer.Option("--engine-only", help="Check the engine alone: no OpenCost, no ingestion.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Also try what is assumed of Kusto, on a scratch table that is dropped.")
    ] = False,
    *,
    console: Console,
) -> None:
    """Check every hop from OpenCost to Kusto, and print the fix for each that fails."""
    if write and engine_only:
        raise UsageError("--write ingests a row, and --engine-only does not; give one of them.")
    found: list[Finding] = []
    for one in _all(source, kusto_options, engine_only=engine_only, write=write):
        found.append(one)
        if console.format_ in (None, Format.TABLE):
            console.out(line(one))
    code = worst(found)
    findings = [one.document() for one in found]
    if console.format_ is Format.JSON:
        console.document({"version": __version__, "exit_code": code, "findings": findings})
    elif console.format_ in (Format.CSV, Format.MARKDOWN):
        console.rows(table_of(findings))
    if code:
        raise typer.Exit(code)


def _all(source: SourceOptions, kusto_options: KustoOptions, *, engine_only: bool, write: bool) -> Iterator[Finding]:
    sources: list[Source] = []
    if not engine_only:
        with source.opencosts() as opencosts:
            for opencost in opencosts:
                yield from examine(opencost, reached=sources.append)
    if not kusto_options.kusto_uri:
        yield Finding("sign-in", Status.NOTE, "Kusto is not checked: name it with --kusto-uri and --database")
        return
    try:
        kusto = kusto_options.kusto()
    except UsageError as error:
        yield failed("sign-in", error, "Correct the option or the variable that the message names.")
        return
    with kusto:
        names = [("name", partial(_name, each)) for each in sources]
        yield from doctor.examine(kusto, engine_only=engine_only, more=names)
        if write:
            yield from assumptions.examine(kusto)


def _name(source: Source, kusto: Kusto) -> Iterable[Finding]:
    """Whether a source may be loaded under its name, as `pipeline.identity` decides it."""
    entries = entries_of(kusto, [source])
    if (refused := refusal(source, entries)) is not None:
        yield failed("name", refused)
        return
    listed = any(one.name == source.name for one in entries)
    state = "is the cluster that Kusto has under this name" if listed else "is not in Kusto yet"
    if listed and not source.fingerprint:
        state = "is in Kusto, and nothing identifies the cluster of this OpenCost"
    yield Finding("name", Status.OK, f"{source.name} {state}")
    for caution in cautions(source, entries):
        yield Finding("name", Status.NOTE, caution)


def examine(
    opencost: OpenCost,
    now: Callable[[], datetime] = utc_now,
    reached: Callable[[Source], None] = lambda _: None,
) -> Iterator[Finding]:
    """The OpenCost half: its hops, its connection, its clock, and whether its last full hour has a cost. Reads only.

    `reached` is called with the source that the server describes.
    """
    hops = [(name, partial(_hop, name, check)) for name, check in opencost.hops()]
    cure = _GUIDE if hops else _FAULTS
    for name, check in [*hops, ("OpenCost", partial(_reached, opencost, reached))]:
        found = list(guarded(name, check, cure=cure))
        yield from found
        if any(one.status is Status.FAILED for one in found):
            return
    if (theirs := opencost.server_time()) is not None:
        skew = abs(theirs - now())
        result = f"OpenCost's clock and this machine's differ by {skew.total_seconds():.0f} s"
        yield Finding("OpenCost's clock", Status.NOTE if skew > _SKEW else Status.OK, result)
    yield from guarded("cost", partial(_cost, opencost, now()))


def _hop(name: str, check: Callable[[], str]) -> Iterable[Finding]:
    yield Finding(name, Status.OK, check())


def _reached(opencost: OpenCost, reached: Callable[[Source], None]) -> Iterable[Finding]:
    began = time.monotonic()
    try:
        source = opencost.reach()
    except OpenCostError as error:
        if error.code is ReasonCode.UNREACHABLE and not list(opencost.hops()):
            error.cure = error.cure or _FORWARD
        raise
    reached(source)
    version = f"version {source.version}" if source.version else "no version"
    took = time.monotonic() - began
    result = f"{opencost.endpoint}, {version}, cluster {source.name}; {took:.2f} s"
    yield Finding("OpenCost", Status.OK, result)
    able = opencost.capabilities()
    if unsupported := "; ".join(one.name.replace("`", "") for one in able.unsupported()):
        yield Finding("version", Status.NOTE, f"it does not support: {unsupported}", "opencost-kusto guide versions")
    if able.store:
        kept = ", ".join(f"{count} of {spelled(length)}" for length, count in able.store.items())
        result = f"OpenCost keeps its measurements itself, and only the last windows: {kept}"
        yield Finding("store", Status.NOTE, result, "If it keeps others, set --opencost-retention.")


def _cost(opencost: OpenCost, now: datetime) -> Iterable[Finding]:
    """The cost of the last full hour, by namespace: an OpenCost without data returns nothing, and no error."""
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hour = Window(end - _HOUR, end)
    batch = Batch(ALLOCATION, opencost.source().name, hour, RequestOptions(aggregate="namespace"))
    records = [msgspec.json.decode(each, type=_Priced) for each in opencost.records(batch, lambda *_: None)]
    cost = sum(each.total_cost for each in records)
    result = f"{stamp(hour.start)} to {stamp(hour.end)}: {len(records)} namespaces, {cost:.5f}"
    if cost > 0:
        yield Finding("cost", Status.OK, result)
    else:
        cure = "kubectl -n opencost logs deploy/opencost, and see whether its Prometheus has data of that hour"
        yield Finding("cost", Status.FAILED, f"{result}: nothing had a cost", cure, EmptyError.exit_code)


def worst(found: Iterable[Finding]) -> int:
    """The exit code of the worst hop, 0 when none failed."""
    codes = {one.exit_code for one in found if one.status is Status.FAILED}
    return next((code for code in _WORST if code in codes), max(codes, default=0))


def line(one: Finding) -> str:
    """A finding as text: status, hop, result, and below it the command that fixes it."""
    cure = "".join(f"\n        → {printable(each)}" for each in one.cure.splitlines())
    return f"{one.status:<7} {f'{one.hop}:':<19} {printable(one.message)}{cure}"
