"""DuckDB in one thread: a second one costs more of the processor than it saves over the small tables of tests."""

from __future__ import annotations

from opencost_kusto.emulator.kusto.shared_duckdb import attached, detach


def one_thread() -> None:
    """Let the DuckDB of this process work in one thread from now on."""
    connection, catalog = attached()
    connection.execute("SET threads = 1")
    detach(connection, catalog)
