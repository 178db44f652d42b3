"""KQL for whether batches are complete: the cheap test in every cost function, and the exact one for anybody to run.

Both ship, rendered from the declared tables and from the one condition of `schema.proof`.
"""

from __future__ import annotations

from opencost_kusto.schema import micros, proof
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import create_function, literal
from opencost_kusto.schema.tables import DATASETS

HELD, SCRAPES, EXACT = "OpenCostHeldBatches", "OpenCostHeldScrapes", "OpenCostProof"
_HEAD = "// Rendered from opencost_kusto/database/proofs.py by `python -m opencost_kusto.database.render`.\n"
# What ships needs no table of a dataset that is not requested by default.
_TABLES = tuple(table for table in DATASETS.values() if table.default)
_WINDOWED = tuple(table for table in _TABLES if table.cadence == "step")
[_SCRAPED] = [table for table in _TABLES if table.cadence == "scrape"]
_IN_TIME = "WindowStart < endTime and WindowEnd > startTime"
# Columns of a batch, with KQL for a table without them.
_OF_BATCH = {"Aggregate": '""', "IncludeIdle": "false", "ShareIdle": "false"}


def functions() -> dict[str, str]:
    """The text of each file in `kql/functions` that is rendered, by the name of its function."""
    return {HELD: _held_batches(), SCRAPES: _held_scrapes(), EXACT: _proof()}


def _held_batches() -> str:
    sources = ",\n        ".join(
        f"({table.name} | where isnotempty(cluster) and {_IN_TIME} and Cluster == cluster | distinct Source)"
        for table in _WINDOWED
    )
    parts = ",\n        ".join(map(_parts, _WINDOWED))
    body = f"""let isAll = isempty(cluster) and isempty(runId);
    let logged = OpenCostSyncRuns | where isnotempty(runId) and RunId == runId | distinct BatchId;
    let sources = union
        {sources};
    let parts = materialize(union
        {parts});
    let complete = parts
        | summarize {proof.merged()} by BatchId
        | project BatchId, BatchCollected = Last, IsComplete = coalesce({proof.COMPLETE}, false);
    parts
    | where isempty(cluster) or Cluster == cluster
    | lookup kind=inner complete on BatchId
    | project Dataset, Cluster, Type, BatchId, Source, WindowStart, WindowEnd, {", ".join(_OF_BATCH)},
        Rows, BatchCollected, IsComplete"""
    comment = """\
// One narrow pass over the facts. A batch is complete when its rows have one CollectionTime, the numbers 1 to BatchRows
// each once, and the cost that its last row states; count, least, greatest, sum and sum of squares of the numbers show
// it without a group for each row. OpenCostProof is exact. The sources of a cluster are looked up first, since a batch
// can be judged only with all its rows, and with --all-clusters it has rows of several clusters. A batch that costs
// more than 9e9 may not be seen to be complete: its rows are then counted one by one.
"""
    doc = (
        "The batches held over windows between two times, by cluster and type of asset, and whether each is complete:"
        " rows, numbers, responses and cost against its totals."
    )
    parameters = 'dataset: string, startTime: datetime, endTime: datetime, cluster: string = "", runId: string = ""'
    return f"{_HEAD}{comment}{create_function(HELD, parameters, doc, body)}"


def _parts(table: Table) -> str:
    """KQL for the batches that a table has rows of, by cluster and type, with what proves them."""
    names = {column.name for column in table.columns}
    rows = f'{table.name} | where {{}} and dataset in ("", {literal(table.dataset)}) and {_IN_TIME}'
    chosen = "(isempty(cluster) or Source in (sources)) and (isempty(runId) or RunId == runId or BatchId in (logged))"
    taken = ("Source", "WindowStart", "WindowEnd", *(one for one in _OF_BATCH if one in names))
    shared = ", ".join(f"{one} = take_any({one})" for one in taken)
    typed = "Type" in names
    absent = {**({} if typed else {"Type": '""'}), **{one: none for one, none in _OF_BATCH.items() if one not in names}}
    constants = ", ".join(f"{one} = {value}" for one, value in {"Dataset": literal(table.dataset), **absent}.items())
    return f"""(union
            ({rows.format("isAll")}),
            ({rows.format("not(isAll)")} | where {chosen})
        | summarize {proof.facts(table.cost, cheap=True)}, {shared} by BatchId, Cluster{", Type" * typed}
        | extend {constants})"""


def _held_scrapes() -> str:
    body = f"""{_SCRAPED.name}
    | where Timestamp >= startTime and Timestamp < endTime and (isempty(cluster) or Cluster == cluster)
    | summarize {proof.facts(_SCRAPED.cost)} by Source, Timestamp, BatchId
    | extend Micros = long(null)
    | summarize Batches = count(), Complete = countif(coalesce({proof.COMPLETE}, false)) by Source, Timestamp
    | project Source, Timestamp, IsComplete = Batches == 1 and Complete == 1"""
    comment = """\
// One narrow pass over the samples, with the condition of OpenCostHeldBatches. A complete scrape has each series once,
// as the text format of Prometheus requires; any other may have one several times.
"""
    doc = "The scrapes held between two times, and whether each is complete: all rows of one response of one batch."
    parameters = 'startTime: datetime, endTime: datetime, cluster: string = ""'
    return f"{_HEAD}{comment}{create_function(SCRAPES, parameters, doc, body)}"


# What is wrong with a batch, each with a mark at its end.
_FINDINGS = """iff(Ends == 0, "no totals; ", ""),
        iff(Ends > 1 and Twice == 0, strcat("totals on ", Ends, " rows; "), ""),
        iff(First != Last, "rows of several responses; ", ""),
        iff(Twice > 0, strcat(Twice, " rows too many; "), ""),
        iff(Numbers < coalesce(BatchRows, Most), strcat(coalesce(BatchRows, Most) - Numbers, " rows missing; "), ""),
        iff(Most > BatchRows, strcat("numbers up to ", Most, " of ", BatchRows, "; "), ""),
        iff(Unnumbered > 0, strcat(Unnumbered, " rows without a number; "), ""),
        iff(Ends > 0 and Cost != OfTotals, strcat("cost ", Cost, " of ", OfTotals, "; "), "")"""


def _proof() -> str:
    rows = ",\n        ".join(map(_rows, _TABLES))
    body = f"""let rows = union
        {rows};
    let numbers = rows
        | summarize Copies = count() by BatchId, RowNumber
        | summarize Numbers = countif(RowNumber > 0), Twice = sumif(Copies - 1, RowNumber > 0),
            Unnumbered = sumif(Copies, RowNumber <= 0) by BatchId;
    rows
    | summarize {proof.facts("TotalCost")},
        Dataset = take_any(Dataset), Source = take_any(Source), WindowStart = min(WindowStart),
        WindowEnd = max(WindowEnd) by BatchId
    | lookup kind=inner numbers on BatchId
    | extend IsComplete = coalesce({proof.COMPLETE} and Numbers == Rows, false)
    | extend Cost = coalesce(Micros, 0) / {micros.PER_UNIT}.0, OfTotals = coalesce(BatchCost, 0) / {micros.PER_UNIT}.0
    | extend Finding = strcat(
        {_FINDINGS})
    | extend Finding = iff(IsComplete, "complete", substring(Finding, 0, strlen(Finding) - 2))
    | project Dataset, Source, BatchId, WindowStart, WindowEnd, IsComplete, Finding, Rows, BatchRows,
        Cost, BatchCost = BatchCost / {micros.PER_UNIT}.0, CollectionTime = Last
    | order by IsComplete asc, WindowStart asc, BatchId asc"""
    comment = """\
// Name one batch, or times. The condition is that of OpenCostHeldBatches, the cheap test of every cost function, and
// that the numbers are as many as the rows, which makes it exact. There is a group for each row, so ask for days
// rather than months. A BatchId has its table and source in it, so groups need no other key. Cost is compared in
// millionths, as it was added up when the rows were written.
"""
    doc = (
        "Whether each batch is complete, or what is wrong with it, exactly: rows, row numbers, responses and cost"
        " against the totals on its last row."
    )
    parameters = (
        'batchId: string = "", startTime: datetime = datetime(2000-01-01), endTime: datetime = datetime(2100-01-01)'
    )
    return f"{_HEAD}{comment}{create_function(EXACT, parameters, doc, body)}"


def _rows(table: Table) -> str:
    """KQL for the rows of a table between two times, with the columns that prove their batch."""
    scraped = table.cadence == "scrape"
    in_time = "Timestamp < endTime and Timestamp >= startTime" if scraped else _IN_TIME
    window = "WindowStart = Timestamp, WindowEnd = Timestamp" if scraped else "WindowStart, WindowEnd"
    cost = "BatchCost, TotalCost" + ("" if table.cost == "TotalCost" else f" = {table.cost}")
    if not table.cost:
        cost = "BatchCost = long(null), TotalCost = real(null)"
    return f"""({table.name} | where {in_time} and (isempty(batchId) or BatchId == batchId)
        | project Dataset = {literal(table.dataset)}, BatchId, Source, {window},
            CollectionTime, RowNumber = coalesce(RowNumber, 0), BatchRows, {cost})"""
