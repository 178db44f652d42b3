"""The one world of the tests: an OpenCost, a Kusto, and the program between them.

Both servers are the emulators on 127.0.0.1, empty but for the tables. Faults are switched on the servers; the program
is the unmodified library with the unmodified SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Self

from opencost_kusto.batch import RequestOptions, Run
from opencost_kusto.database import script
from opencost_kusto.emulator import KustoEmulator, MemoryStorage, Responder
from opencost_kusto.emulator.kusto import commands
from opencost_kusto.emulator.kusto.storage import Storage
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window
from tests.support.recorded import OpenCostEmulator

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
NAMESPACES = RequestOptions(aggregate="namespace")
# Rows of the recorded hour by namespace.
ROWS = 8
QUICK = Deadlines(query=3, resources=3, upload=3, queue=3)
PATIENT = Deadlines(query=60)
TABLES = [command.text for command in script.commands("tables")]


class World:
    """Both servers and the program between them; use it as a context.

    `responder` replaces OpenCost's responses, `storage` where blobs and messages are, `latency` the seconds of an
    ingestion. `tables` says whether the tables exist; `clock` is OpenCost's.
    """

    def __init__(
        self,
        *,
        responder: Responder | None = None,
        storage: Storage | Callable[[str], Storage] | None = None,
        latency: float = 0,
        tables: bool = True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.kusto = KustoEmulator(storage=storage, latency=latency)
        self.opencost = OpenCostEmulator(responder=responder, clock=clock)
        self._tables = tables
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.kusto.start()
        self._stack.callback(self.kusto.stop)
        self.opencost.start()
        self._stack.callback(self.opencost.stop)
        if self._tables:
            self.create()
        return self

    def __exit__(self, *_: object) -> None:
        self.kusto.fault = None
        self._stack.close()

    @property
    def storage(self) -> MemoryStorage:
        """Where blobs and messages are."""
        assert isinstance(self.kusto.storage, MemoryStorage)
        return self.kusto.storage

    def create(self, texts: Sequence[str] = TABLES) -> None:
        """Create the tables, as bootstrap does; without a client, since nearly every test begins so."""
        for text in texts:
            commands.run(self.kusto.engine, text)

    def client(self, deadlines: Deadlines = QUICK) -> Kusto:
        """The program's client of Kusto."""
        return Kusto(self.kusto.url, "OpenCost", auth="none", deadlines=deadlines)

    def source(self, cluster: str | None = None, **options: Any) -> OpenCost:
        """The program's client of OpenCost."""
        return OpenCost(self.opencost.url, cluster=cluster, **{"timeout": 5, **options})

    def sync(
        self,
        *datasets: str,
        deadlines: Deadlines = QUICK,
        request: SyncRequest | None = None,
        run: Run | None = None,
        cluster: str | None = None,
        on_result: Callable[[BatchResult], None] = lambda _: None,
        timeout: float = 10,
        **policy: Any,
    ) -> Report:
        """Load the recorded hour by namespace, or what is requested."""
        request = request or SyncRequest(HOUR, None, datasets or ("allocation",), NAMESPACES)
        with self.source(cluster) as opencost, self.client(deadlines) as kusto:
            how = LoadPolicy(timeout=timeout, **policy)
            return sync(opencost, kusto, request, run=run, policy=how, on_result=on_result)

    @contextmanager
    def without_faults(self) -> Iterator[Kusto]:
        """A patient client, past every fault."""
        fault, self.kusto.fault = self.kusto.fault, None
        try:
            with self.client(PATIENT) as kusto:
                yield kusto
        finally:
            self.kusto.fault = fault

    def command(self, *texts: str) -> None:
        """Change the database, past every fault."""
        with self.without_faults() as kusto:
            for text in texts:
                kusto.command(text)

    def query(self, text: str) -> list[dict[str, Any]]:
        """Rows of a query, past every fault."""
        with self.without_faults() as kusto:
            return kusto.query(text)

    def count(self, table: str = ALLOCATION.name) -> int:
        """Rows in a table, past every fault."""
        return int(self.query(f"{table} | count")[0]["Count"])

    def collected(self) -> set[datetime]:
        """When the runs began whose rows the table holds: more than one, and responses are mixed."""
        return {row["CollectionTime"] for row in self.query(f"{ALLOCATION.name} | distinct CollectionTime")}

    def log(self) -> list[dict[str, Any]]:
        """The run log's entries of batches, oldest entry first."""
        return self.query("OpenCostSyncRuns | where isnotempty(BatchId) | order by LoggedAt asc")

    def identities(self) -> list[dict[str, Any]]:
        """The run log's entries of sources, oldest entry first."""
        return self.query("OpenCostSyncRuns | where isempty(BatchId) | order by LoggedAt asc")

    @property
    def staging(self) -> list[str]:
        """The staging tables that are left."""
        return [name for name in self.kusto.engine.tables if name.startswith("OpenCostReplacement")]

    def drain(self) -> None:
        """Let everything land that is still queued, past every fault."""
        self.kusto.fault = None
        self.kusto.resume()
        self.kusto.wait_idle()

    def settle(self, rows: int, table: str = ALLOCATION.name) -> None:
        """Once the queue has drained the table holds exactly these rows."""
        self.drain()
        assert self.count(table) == rows


def result_of(report: Report, table: str = ALLOCATION.name) -> BatchResult:
    """The result of the one batch of a table."""
    (one,) = (result for result in report.results if result.table == table)
    return one


def check_consistent(report: Report) -> None:
    """Outcomes and exit code agree, each failure has a reason, and no reason has a secret or a line break."""
    bad = [one for one in report.results if one.outcome in ("failed", "timed out")]
    assert (report.exit_code == 0) == (not bad)
    for one in bad:
        assert one.reason
    for one in report.results:
        assert "sig=" not in (one.reason or "")
        assert "\n" not in (one.reason or "")
