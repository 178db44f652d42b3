"""KQL to SQL through duckdb-kql, kept by text: translating a query takes longer than running it."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import duckdb_kql
from duckdb_kql.params import as_datetime
from duckdb_kql.stored_functions import StoredFunction
from duckdb_kql.translate import CLOCK_SLOT

from opencost_kusto.emulator.kusto.functions import Function, called, parsed
from opencost_kusto.emulator.kusto.listed_texts import filled, without_lists
from opencost_kusto.emulator.kusto.macros import shortened
from opencost_kusto.emulator.kusto.rows import EXTENT_ID, INGESTED
from opencost_kusto.emulator.kusto.syntax import masked

_HIDDEN_CALL: Final = re.compile(r"\b(extent_id|ingestion_time)\s*\(\s*\)")
_PRINCIPAL_CALL: Final = re.compile(r"\bcurrent_principal\s*\(\s*\)")
_NEWEST: Final = re.compile(r"\barg_(?:max|min)\s*\(\s*ingestion_time\s*\(\s*\)")
_CACHE_AGE: Final = re.compile(r"(^|;)\s*set\s+query_results_cache_max_age\s*=\s*([^;]+);")
# coalesce takes an empty string for null, which duckdb-kql, without types, finds out from the text of each number.
_COALESCED: Final = re.compile(r"""CASE WHEN CAST\(((?:"[^"]+"\.)?"[^"]+") AS VARCHAR\) <> '' THEN \1 END""")
_KEPT: Final = 1024
_kept: OrderedDict[tuple[Any, ...], Translation] = OrderedDict()
_lock: Final = threading.Lock()


class Translation(NamedTuple):
    """SQL and its parameters; a query that calls now() finds the time in the slot named `clock`."""

    sql: str
    parameters: dict[str, Any]
    clock: str | None

    def bound(self, now: datetime) -> dict[str, Any]:
        """The parameters, with this time in the clock's slot."""
        return {**self.parameters, self.clock: as_datetime(now, "now")} if self.clock else self.parameters


def as_principal(text: str, principal: str) -> str:
    """A query with the principal for `current_principal()`."""
    parts, start = [], 0
    for call in _PRINCIPAL_CALL.finditer(masked(text)):
        parts += [text[start : call.start()], json.dumps(principal)]
        start = call.end()
    return "".join([*parts, text[start:]])


def cache_age(text: str) -> tuple[str, str | None]:
    """A query without its statement that sets the oldest result it takes from the cache, and that age, if it sets one.

    https://learn.microsoft.com/kusto/query/query-results-cache
    """
    plain = masked(text)
    found = _CACHE_AGE.search(plain)
    if found is None:
        return text, None
    start, end = found.start() + len(found[1]), found.end()
    return text[:start] + " " * (end - start) + text[end:], text[found.start(2) : found.end(2)]


def requests_hidden(text: str, functions: Mapping[str, Function]) -> bool:
    """Whether a query, or a function it calls, reads a row's extent or the time of its ingestion."""
    texts = [text, *(one.body for one in called(text, functions).values())]
    return any(_HIDDEN_CALL.search(masked(one)) for one in texts)


def shows_ingestion(text: str, functions: Mapping[str, Function]) -> bool:
    """Whether the time of ingestion is a column of the result, as `arg_max(ingestion_time(), *)` makes it."""
    texts = [text, *(one.body for one in called(text, functions).values())]
    return any(_NEWEST.search(masked(one)) for one in texts)


def translated(
    text: str,
    *,
    catalog: str,
    schema: Mapping[str, Sequence[str]],
    functions: Mapping[str, Function],
    parameters: Mapping[str, Any] | None = None,
    now: datetime,
) -> Translation:
    """Translate a query over the tables of a DuckDB catalog; raises what duckdb-kql raises, and KustoRefusal."""
    text, texts = without_lists(cache_age(text)[0])
    needed = called(text, functions)
    key = (
        text,
        catalog,
        repr(sorted((parameters or {}).items())),
        tuple((name, tuple(columns)) for name, columns in schema.items()),
        frozenset((one.name, one.parameters, one.body) for one in needed.values()),
    )
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _with_texts(_kept[key], texts)
    found = _translated(text, catalog, schema, needed, parameters, now)
    with _lock:
        _kept[key] = found
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return _with_texts(found, texts)


def _translated(
    text: str,
    catalog: str,
    schema: Mapping[str, Sequence[str]],
    functions: Mapping[str, Function],
    parameters: Mapping[str, Any] | None,
    now: datetime,
) -> Translation:
    registry: dict[str | None, dict[str, StoredFunction]] = {}
    registry[None] = {name: parsed(one, _with_hidden(one.body)) for name, one in functions.items()}
    tables = {name: list(columns) for name, columns in schema.items()}
    made = duckdb_kql.to_sql(
        _with_hidden(text),
        {**tables, **{f"{catalog}.{name}": columns for name, columns in tables.items()}},
        dict(parameters) if parameters else None,
        catalog,
        False,
        functions=registry,
        query_now=now,
    )
    if made.unbound:
        raise ValueError(f"query parameter without a value and a default: {', '.join(made.unbound)}")
    bound = {name: value for name, value in made.parameters.items() if name != CLOCK_SLOT}
    return Translation(_by_type(shortened(str(made))), bound, CLOCK_SLOT if CLOCK_SLOT in made.parameters else None)


def kept() -> int:
    """How many translations are kept."""
    return len(_kept)


def _by_type(sql: str) -> str:
    """The SQL with empty strings looked for in columns of strings alone: DuckDB knows the type before it reads rows."""
    return _COALESCED.sub(
        r"""CASE WHEN typeof(\1) NOT IN ('VARCHAR', 'JSON') OR CAST(\1 AS VARCHAR) <> '' THEN \1 END""", sql
    )


def _with_texts(made: Translation, texts: Sequence[str]) -> Translation:
    return made._replace(sql=filled(made.sql, texts))


def _with_hidden(text: str) -> str:
    """The text with hidden columns for the calls that name them."""
    parts, start = [], 0
    for call in _HIDDEN_CALL.finditer(masked(text)):
        # What bears the hidden name is left out of the result: a call's own result is named Column1.
        column = f"coalesce({EXTENT_ID}, {EXTENT_ID})" if call[1] == "extent_id" else f"['{INGESTED}']"
        parts += [text[start : call.start()], column]
        start = call.end()
    return "".join([*parts, text[start:]])
