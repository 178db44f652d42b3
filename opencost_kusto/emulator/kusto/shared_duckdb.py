"""The one DuckDB of a process, and statements as it parsed them."""

from __future__ import annotations

import itertools
from functools import cache, lru_cache
from typing import Final

import duckdb
import duckdb_kql

from opencost_kusto.emulator.kusto.macros import CATALOG, macros

# A lookup takes its right side for the small one, as Kusto's does. Over ten joins of results, about which DuckDB knows
# nothing, its estimates are off by powers of ten: it held all facts in memory to look up fifty windows. The third pass
# takes longer than all others and the query itself together over nested functions, and saves nothing.
_AS_WRITTEN: Final = "join_order,build_side_probe_side,projection_pullup"

# A syntax tree is large, 30 times its text: those of the statements of a sync are kept, of nested functions the last.
_LONG: Final = 20_000
_numbers: Final = itertools.count(1)


def attached() -> tuple[duckdb.DuckDBPyConnection, str]:
    """A connection to a new, empty catalog, which it uses, and the catalog's name."""
    connection, catalog = _duckdb().cursor(), f"_{next(_numbers)}"
    # DuckDB draws one for slow queries where it takes the process for an interactive one.
    connection.execute(f"SET enable_progress_bar = false; ATTACH ':memory:' AS {catalog}; USE {catalog}")
    return connection, catalog


def detach(connection: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Drop a catalog and close its connection."""
    connection.execute(f"USE memory; DETACH {catalog}")
    connection.close()


def statement(sql: str) -> duckdb.Statement:
    """A statement as DuckDB parsed it, which takes a quarter of its time; it may be executed in any database."""
    return (_parsed if len(sql) <= _LONG else _long_parsed)(sql)


def _parse(sql: str) -> duckdb.Statement:
    (found,) = duckdb.default_connection().extract_statements(sql)
    return found


_parsed: Final = lru_cache(maxsize=256)(_parse)
_long_parsed: Final = lru_cache(maxsize=8)(_parse)


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    """The DuckDB of the process, with what is the same for all databases."""
    found = duckdb_kql.connect()
    found.execute(f"SET GLOBAL TimeZone = 'UTC'; SET disabled_optimizers = '{_AS_WRITTEN}'")
    found.execute(f"ATTACH ':memory:' AS {CATALOG}")
    for macro in macros():
        found.execute("; ".join(macro.definitions))
    return found
