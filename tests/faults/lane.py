"""Both stand-ins, and our own code between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from opencost_kusto.batch import RequestOptions
from opencost_kusto.database import script
from opencost_kusto.emulator import KustoEmulator, MemoryStorage
from opencost_kusto.emulator.kusto.storage import Storage
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window
from tests.support.recorded import OpenCostEmulator

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
NAMESPACES = RequestOptions(aggregate="namespace")
ROWS = 8
QUICK = Deadlines(query=3, resources=3, upload=3, queue=3)
COMMANDS = [command.text for command in script.commands("tables")]


class Lane:
    """Both stand-ins and our own code between them; `storage` is another than the stand-in's own."""

    def __init__(self, storage: Storage | Callable[[str], Storage] | None = None) -> None:
        self.kusto = KustoEmulator(storage=storage, latency=0)
        self.opencost = OpenCostEmulator()

    def __enter__(self) -> Lane:
        self.kusto.start()
        self.opencost.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kusto.fault = None
        self.opencost.stop()
        self.kusto.stop()

    @property
    def storage(self) -> MemoryStorage:
        """Where blobs and messages lie."""
        assert isinstance(self.kusto.storage, MemoryStorage)
        return self.kusto.storage

    def create(self) -> None:
        """Create the tables as bootstrap would."""
        with self.client() as kusto:
            for command in COMMANDS:
                kusto.command(command)

    def client(self, deadlines: Deadlines = QUICK) -> Kusto:
        """Our client of the stand-in."""
        return Kusto(self.kusto.url, "OpenCost", auth="none", deadlines=deadlines)

    def sync(self, *datasets: str, deadlines: Deadlines = QUICK, timeout: float = 10, **more: Any) -> Report:
        """Take the recorded hour in, by namespace."""
        question = SyncRequest(HOUR, None, datasets or ("allocation",), NAMESPACES)
        with OpenCost(self.opencost.url, timeout=5) as opencost, self.client(deadlines) as kusto:
            return sync(opencost, kusto, question, timeout=timeout, **more)

    def command(self, *texts: str) -> None:
        """Do something to the database that is no part of a sync."""
        with self.client(Deadlines()) as kusto:
            for text in texts:
                kusto.command(text)

    def query(self, text: str) -> list[dict[str, Any]]:
        """Ask past every fault."""
        fault, self.kusto.fault = self.kusto.fault, None
        try:
            with self.client(Deadlines()) as kusto:
                return kusto.query(text)
        finally:
            self.kusto.fault = fault

    def count(self, table: str = ALLOCATION.name) -> int:
        """Rows in a table, asked past every fault."""
        return int(self.query(f"{table} | count")[0]["Count"])

    def runs(self) -> set[datetime]:
        """The runs whose rows the table holds: those of one, or two answers are mixed."""
        return {row["CollectionTime"] for row in self.query(f"{ALLOCATION.name} | distinct CollectionTime")}

    @property
    def staging(self) -> list[str]:
        """The tables in which replacements are made ready."""
        return [name for name in self.kusto.engine.tables if name.startswith("OpenCostReplacement")]

    def settle(self, rows: int, table: str = ALLOCATION.name) -> None:
        """Once all is quiet the table holds exactly these rows."""
        self.kusto.fault = None
        self.kusto.resume()
        self.kusto.wait_idle()
        assert self.count(table) == rows


def of(report: Report, table: str = ALLOCATION.name) -> BatchResult:
    """The outcome of the one batch of a table."""
    (one,) = (outcome for outcome in report.outcomes if outcome.table == table)
    return one


def honest(report: Report) -> None:
    """Outcomes and exit code agree, each failure has a reason, and no reason carries a secret or a line break."""
    bad = [one for one in report.outcomes if one.outcome in ("failed", "timed out")]
    assert (report.exit_code == 0) == (not bad)
    for one in bad:
        assert one.reason
    for one in report.outcomes:
        assert "sig=" not in (one.reason or "")
        assert "\n" not in (one.reason or "")
