"""`doctor --write`: test behaviour that the documentation leaves open, on one scratch table of the user's cluster.

Each assumption has the consequence of another behaviour. The table is dropped at the end, or by its auto_delete policy
if the process is killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from opencost_kusto.database import measure_rows as rows
from opencost_kusto.database import measure_schema as schema
from opencost_kusto.database.finding import Finding, Status
from opencost_kusto.database.measure_schema import Measure
from opencost_kusto.database.scratch import Scratch
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto


@dataclass(frozen=True, slots=True)
class Assumption:
    """One assumption about a cluster: the check, the expected result, and the consequence of another result.

    Where several results are expected, the program works with each.
    """

    check: str
    assumed: str | tuple[str, ...]
    otherwise: str
    measure: Measure

    @property
    def expected(self) -> tuple[str, ...]:
        """The expected results."""
        return (self.assumed,) if isinstance(self.assumed, str) else self.assumed


_TAGS = [{"TagPrefix": "ingest-by:", "RetentionPeriod": "7.00:00:00"}]
_BATCHING = {"MaximumBatchingTimeSpan": "00:00:30"}
_MERGE = '.create-merge table {T} (BatchId: string, More: long) with (docstring = "Other.")'
_SKIPPED = "Skipped_IngestByTagAlreadyExists, Permanent"
_NO_REPAIR = "sync --replace and repairs fail"

ASSUMPTIONS = (
    Assumption("Is .create table with docstring and folder accepted?", "yes", "nothing else is tried", schema.create),
    Assumption(
        "Which column of .show database schema as json has the schema?",
        "DatabaseSchema",
        "bootstrap and doctor cannot read the schema",
        schema.schema_column,
    ),
    Assumption("Is an auto_delete policy accepted?", "yes", "a staging table of a killed run stays", schema.expires),
    Assumption(
        "Is the batching policy accepted?",
        "yes",
        "rows without a tag wait for the default of 5 minutes",
        schema.policy("ingestionbatching", _BATCHING, ".alter-merge"),
    ),
    Assumption(
        "Is a tag retention whose prefix has the table's name accepted?",
        "refused",
        "none: the cluster accepts more than its documentation says",
        schema.tags_with_table,
    ),
    Assumption(
        "Is a tag retention by ingest-by: accepted?",
        "yes",
        "tags stay until the extents go",
        schema.policy("extent_tags_retention", _TAGS),
    ),
    Assumption("How is that policy shown?", "7.00:00:00", "bootstrap sends it every time", schema.tags_shown),
    Assumption(
        "How is a policy shown that was never set?", "null", "doctor reports policies wrongly", schema.no_policy
    ),
    Assumption("Is a fenced JSON mapping accepted?", "yes", "nothing can be loaded", schema.mapping()),
    Assumption(
        "How is a mapping shown?",
        "6 columns",
        "a changed mapping is not found before rows are sent",
        schema.mapping_shown,
    ),
    Assumption(
        "Is .create-merge of an existing table accepted?",
        "yes",
        "an upgrade cannot add columns",
        schema.accepted(_MERGE),
    ),
    Assumption("Does it change the table's docstring?", "stays", "it is set twice", schema.docstring),
    Assumption(
        "Is .alter table docstring accepted?",
        "yes",
        "bootstrap --check lists the docstring after an upgrade",
        schema.accepted('.alter table {T} docstring "Scratch, altered."'),
    ),
    Assumption(
        "Is a function refused that calls a missing one?",
        "refused",
        "none: the order in which functions are created does not matter",
        schema.callee,
    ),
    Assumption("How long does it take to queue a blob?", "under 10 s", "a backfill takes longer", rows.queued),
    Assumption("After how long does a row land?", "under 60 s", "raise --timeout", rows.landed),
    Assumption("Does a tag land only once?", "2 rows of 3 messages", "duplicates are found by counting", rows.once),
    Assumption(
        "How is a blob listed that its tag left out?",
        ("not listed", _SKIPPED),
        "such a blob is reported as failed; report it",
        rows.hit,
    ),
    Assumption("How are the tags of an extent shown?", "ingest-by: and the tag", "tags cannot be read", rows.tags),
    Assumption("How does a row land?", "as sent", "amounts or times differ; report it", rows.values),
    Assumption("Do labels that look like other types stay?", "stay", "reports by such a label differ", rows.labels),
    Assumption("How are halves of a millionth rounded?", "up", "amounts differ by a millionth; report it", rows.halves),
    Assumption(
        "Is a blob listed that cannot be read?",
        "listed with its source",
        "a batch that Kusto refuses is reported as timed out, without the reason",
        rows.malformed,
    ),
    Assumption("Is a staging table of the same columns accepted?", "yes", _NO_REPAIR, schema.staging),
    Assumption("Is a mapping of the staging table accepted?", "yes", _NO_REPAIR, schema.mapping("{S}")),
    Assumption(
        "Are rows of .set-or-append in the table at once?", "1 row", "the run log is behind the rows", rows.appended
    ),
    Assumption("What separates the tags of an extent?", "line breaks", "tags cannot be read", rows.two_tags),
    Assumption("Does a new table take a queued blob?", "yes", "a repair fails once, and works later", rows.staged),
    Assumption("Is .update table with move accepted?", "yes", "sync --replace appends instead", rows.moved),
    Assumption(
        "What does the table hold after that?",
        "1 row, with its tag",
        "a late message of a replaced batch lands again, which counting finds",
        rows.after_move,
    ),
    Assumption(
        "What does .update table with whatif count?", "Delete 1, Create 1", "sync --replace refuses it", rows.whatif
    ),
    Assumption("Is .update table with append accepted?", "yes", "duplicates cannot be removed", rows.replaced),
)


def examine(kusto: Kusto, *, timeout: float = 300.0, sleep: Callable[[float], None] = time.sleep) -> Iterator[Finding]:
    """Test each assumption in turn, and always drop the table at the end."""
    scratch = Scratch(kusto, timeout, sleep)
    try:
        for assumption in ASSUMPTIONS:
            finding = _tried(assumption, scratch)
            yield finding
            if assumption is ASSUMPTIONS[0] and finding.status is not Status.OK:
                return
    finally:
        yield from _dropped(scratch)


def _tried(assumption: Assumption, scratch: Scratch) -> Finding:
    hop = "assumption"
    try:
        measured = assumption.measure(scratch)
    except KustoError as error:
        measured = f"no: {error}"
    except LookupError:
        # No row landed, or nothing is shown.
        measured = "nothing"
    if measured in assumption.expected:
        return Finding(hop, Status.OK, f"{assumption.check} {measured}")
    assumed = " or ".join(assumption.expected)
    result = f"{assumption.check} {measured}; assumed: {assumed}. Consequence: {assumption.otherwise}."
    return Finding(hop, Status.NOTE, result)


def _dropped(scratch: Scratch) -> Iterator[Finding]:
    for command in scratch.drops():
        name = command.split()[2]
        try:
            scratch.command(command)
            yield Finding("assumption", Status.OK, f"{name} is dropped")
        except KustoError as error:
            yield Finding("assumption", Status.NOTE, f"{name} could not be dropped: {error}", command)
