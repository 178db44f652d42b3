"""KQL for the state of each window: the one rule that functions, status, scheduler and backfill share.

Two functions ship, rendered from the declared tables. Queries of this package carry the same text as `let` statements,
so that they have the same result on a database whose functions are missing or of another release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from opencost_kusto.schema import micros, proof
from opencost_kusto.schema.columns import FromOption, Table
from opencost_kusto.schema.kql import create_function, literal
from opencost_kusto.schema.options import Option
from opencost_kusto.schema.retention import kept_for
from opencost_kusto.schema.tables import DATASETS, OPTIONS, SYNC_RUNS
from opencost_kusto.window import Window, stamp
from opencost_kusto.window_state import RULES, Rule, WindowState

LOGGED, STATES = "OpenCostLoggedWindows", "OpenCostWindowStates"
_PARAMETERS = 'startTime: datetime, endTime: datetime, cluster: string = ""'
_ANY_CLUSTER = "(isempty(cluster) or Source == cluster)"
_MINUTE = timedelta(minutes=1)
_NO_VALUE = '("", "[]")'
# What ships needs no table of a dataset that is not requested by default.
_TABLES, _OPTIONS = tuple(table for table in DATASETS.values() if table.default), tuple(OPTIONS.values())
_OF_TABLES = f"TableName in ({', '.join(literal(table.name) for table in _TABLES)})"
_CALLED = f"{LOGGED}(startTime, endTime, cluster) | where {_OF_TABLES}"
# Columns of the latest run log entry of a batch.
_LOGGED = (
    *("Source", "Cluster", "TableName", "Dataset", "WindowStart", "WindowEnd"),
    *("RunId", "Outcome", "ReasonCode", "Reason", "Rows", "Cost"),
)


def column(option: Option) -> str:
    """The name of an option's column: `IncludeIdle` for includeIdle."""
    return option.name[0].upper() + option.name[1:]


def logged(whose: str, tables: Sequence[Table]) -> str:
    """KQL for the windows of the run log between `startTime` and `endTime`, with the state that it alone gives them."""
    partial = " or ".join(f"tostring(Options.{one.name}) !in {_NO_VALUE}" for one in OPTIONS.values() if one.partial)
    kept = [f"TableName == {literal(one.name)}, {_kept(one.retention)}" for one in tables if one.retention]
    kept_by_table = f"case({', '.join(kept)}, timespan(null))" if kept else "timespan(null)"
    return f"""{SYNC_RUNS.name}
    | where WindowStart < endTime and WindowEnd > startTime and isnotempty(BatchId) and {whose}
    | extend Latest = coalesce(LoggedAt, CollectionTime)
    | summarize arg_max(Latest, CollectionTime, {", ".join(_LOGGED)}, Options) by BatchId
    | extend Kept = {kept_by_table}
    | extend IsPastRetention = isnotnull(Kept) and CollectionTime - WindowStart >= Kept, IsPartial = {partial}
    | extend State = {_by_entry()}
    | project BatchId, State, IsPartial, Latest, {", ".join(_LOGGED)}, Options"""


def states(whose: str, of_log: str, tables: Sequence[Table], options: Sequence[Option]) -> str:
    """KQL for the state of every window between `startTime` and `endTime`; `of_log` is KQL for those of the run log.

    The result has a column for each of `options`: from the run log, else from the rows where they have it.
    """
    held = ",\n        ".join(f"({_held(table, whose, options)})" for table in tables)
    either = ("Source", "TableName", "Dataset", "WindowStart", "WindowEnd")
    same = ", ".join(f"{name} = iff(IsHeld, {name}, {name}1)" for name in either)
    in_rows = {name for table in tables for name in _in_rows(table, options)}
    columns = "".join(
        f", {name} = iff(IsLogged, {read}, {name if name in in_rows else none})"
        for name, read, none in map(_read, options)
    )
    return f"""union
        {held}
    | join kind=fullouter ({of_log} | extend IsLogged = true) on BatchId
    | extend IsHeld = isnotempty(BatchId), IsLogged = coalesce(IsLogged, false)
    | extend State = case({proof.COMPLETE}, "landed", IsHeld, "damaged", State == "landed", "due", State)
    | project BatchId = iff(IsHeld, BatchId, BatchId1), {same},
        State, IsPartial = coalesce(IsPartial, false), Cost = iff(IsHeld, Micros / {micros.PER_UNIT}.0, Cost),
        Outcome, ReasonCode, Reason, LoggedAt = Latest{columns}"""


def functions() -> dict[str, str]:
    """The text of each file in `kql/functions` that is rendered, by the name of its function."""
    return {
        LOGGED: _function(
            LOGGED,
            "The windows of the run log between two times, each request once, with the state by its last"
            " entry: landed, queued, empty, inconclusive, expired, lost, failed or due.",
            logged(_ANY_CLUSTER, _TABLES),
            "// An empty response of a window that OpenCost's built-in store may no longer have had is inconclusive\n"
            "// until it is confirmed, for datasets that are requested by default. Landed is what the log says: in\n"
            "// OpenCostWindowStates the rows prove it, and without rows it is due.\n",
        ),
        STATES: _function(
            STATES,
            "The state of each window of the datasets requested by default between two times, each request once:"
            " landed or damaged by the rows in the table, else the state by the run log.",
            states(_ANY_CLUSTER, _CALLED, _TABLES, _OPTIONS),
            "// A batch is proven by its rows, whatever the run log says. Without an entry there its options are\n"
            "// those of its rows, and it is not partial: as in OpenCostCoverage, it covers its window.\n"
            "// `cluster` is the source's name.\n",
        ),
    }


def query(
    window: Window, sources: Sequence[str] | None, tables: Sequence[Table], rest: str, options: Sequence[Option] = ()
) -> str:
    """KQL over `States`, the windows of some tables that overlap a window, with their states and options.

    `rest` goes on from there, and may begin with `let`. `sources` None reads every source.
    """
    whose = "true" if sources is None else f"Source in ({', '.join(map(literal, sources))})"
    of_tables = f"TableName in ({', '.join(literal(table.name) for table in tables)}) and {whose}"
    let = _let_logged(window, of_tables, tables)
    return f"{let} let States = {states(whose, 'Logged', tables, options)}; {rest}"


def log_query(window: Window, rest: str) -> str:
    """KQL over `Logged`, the windows of the run log that overlap a window, with their states by it; reads no rows."""
    return f"{_let_logged(window, 'true', list(DATASETS.values()))} {rest}"


def _let_logged(window: Window, whose: str, tables: Sequence[Table]) -> str:
    start, end = (f"datetime({stamp(bound)})" for bound in (window.start, window.end))
    return f"let startTime = {start}; let endTime = {end}; let Logged = {logged(whose, tables)};"


def _by_entry() -> str:
    """KQL for `window_state.by_entry` of a run log entry."""
    rules = ",\n        ".join(f"{_fits(rule)}, {literal(rule.state)}" for rule in RULES)
    return f"case(\n        {rules},\n        {literal(WindowState.DUE)})"


def _fits(rule: Rule) -> str:
    """KQL for whether a rule is about an entry."""
    code = [] if rule.code is None else [f"ReasonCode == {literal(rule.code)}"]
    return " and ".join([f"Outcome == {literal(rule.outcome)}", *code, *(["IsPastRetention"] * rule.past_retention)])


def _held(table: Table, whose: str, options: Sequence[Option]) -> str:
    """KQL for the batches that a table has rows of, with what proves them complete."""
    start, end = ("WindowStart", "WindowEnd") if table.cadence == "step" else ("Timestamp", "Timestamp")
    shared = ("Source", *dict.fromkeys((start, end)), *_in_rows(table, options))
    taken = ", ".join(f"{one} = take_any({one})" for one in shared)
    minute = ", WindowStart = bin(Timestamp, 1m), WindowEnd = bin(Timestamp, 1m) + 1m" if start == end else ""
    no_cost = "" if table.cost else ", Micros = long(null)"
    return (
        f"{table.name} | where {start} < endTime and {end} {'>=' if start == end else '>'} startTime and {whose}"
        f"\n        | summarize {proof.facts(table.cost)}, {taken} by BatchId"
        f"\n        | extend TableName = {literal(table.name)}, Dataset = {literal(table.dataset)}"
        f"{no_cost}{minute}"
    )


def _in_rows(table: Table, options: Sequence[Option]) -> list[str]:
    """The columns of a table that hold an option of its batches."""
    names = {option.name for option in options}
    return [one.name for one in table.columns if isinstance(one.source, FromOption) and one.source.name in names]


def _read(option: Option) -> tuple[str, str, str]:
    """An option's column, and KQL for its value in the run log and for none."""
    if not isinstance(option.default, bool):
        return column(option), f"tostring(Options.{option.name})", '""'
    # An entry of a release without the option is of its default.
    return column(option), f"coalesce(tobool(Options.{option.name}), {str(option.default).lower()})", "bool(null)"


def _kept(retention: Mapping[timedelta, int]) -> str:
    """KQL for `kept_for` of a window; `retention` is not empty."""
    shortest, *longer = sorted(retention)
    kept = {length: _timespan(kept_for(length, retention) or timedelta()) for length in retention}
    cases = [f"WindowEnd - WindowStart >= {_timespan(length)}, {kept[length]}" for length in reversed(longer)]
    return f"case({', '.join(cases)}, {kept[shortest]})" if cases else kept[shortest]


def _timespan(length: timedelta) -> str:
    return f"{length // _MINUTE}m"


def _function(name: str, doc: str, body: str, comment: str) -> str:
    head = "// Rendered from opencost_kusto/database/window_states.py by `python -m opencost_kusto.database.render`.\n"
    return f"{head}{comment}{create_function(name, _PARAMETERS, doc, body)}"
