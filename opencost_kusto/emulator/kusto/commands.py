"""Management commands: every one the emulator has, and a syntax error for every other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto import (
    extent_commands,
    function_commands,
    role_commands,
    show_commands,
    table_commands,
    update_commands,
)
from opencost_kusto.emulator.kusto.access import EMULATOR
from opencost_kusto.emulator.kusto.catalog import KustoRefusal
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.session import IDLE, Capacity, Session
from opencost_kusto.emulator.kusto.syntax import Cursor, split_pipe

COMMANDS: Final[dict[str, Callable[[Session, Cursor], Result]]] = {
    ".create-merge table": table_commands.create_merge,
    ".create table": table_commands.create,
    ".rename table": table_commands.rename,
    ".drop table": table_commands.drop,
    ".clear table": table_commands.clear,
    ".create-or-alter table": table_commands.create_mapping,
    ".alter-merge table": table_commands.alter_merge,
    ".alter table": table_commands.alter,
    ".create-or-alter function": function_commands.create_or_alter,
    ".drop function": function_commands.drop,
    ".set": extent_commands.set_new,
    ".append": extent_commands.append,
    ".set-or-append": extent_commands.set_or_append,
    ".ingest inline into table": extent_commands.ingest_inline,
    ".drop extents": extent_commands.drop,
    ".update table": update_commands.update,
    ".delete table": update_commands.delete,
    ".add": role_commands.add,
    ".drop database": role_commands.drop,
    ".show table": show_commands.table,
    ".show tables": show_commands.tables,
    ".show materialized-views": show_commands.materialized_views,
    ".show function": show_commands.function,
    ".show functions": show_commands.functions,
    ".show database": show_commands.database,
    ".show ingestion failures": show_commands.failures,
    ".show capacity": show_commands.capacity,
    ".show version": show_commands.version,
}
"""By the words that open the command; the reader of the rest stands after them."""

_LEADING_COMMENTS: Final = re.compile(r"(?:\s|//[^\n]*)*")


def run(engine: Engine, text: str, *, principal: str = EMULATOR, capacity: Capacity = IDLE) -> Result:
    """Run a command; what is piped behind a `.show` is a query over its result."""
    text = _LEADING_COMMENTS.sub("", text, count=1)
    own_text, operators = split_pipe(text) if is_show(text) else (text, "")
    with engine.lock:
        found = _run(engine, own_text, principal, capacity)
        return engine.pipe(found, operators) if operators else found


def is_show(text: str) -> bool:
    """Whether a command only reads."""
    return re.match(r"\.show\b", text, re.IGNORECASE) is not None


def _run(engine: Engine, text: str, principal: str, capacity: Capacity) -> Result:
    for opening in sorted(COMMANDS, key=len, reverse=True):
        cursor = Cursor(text)
        if cursor.accept(opening):
            session = Session(engine, principal, lambda named: _answer(engine, named, principal), capacity)
            return COMMANDS[opening](session, cursor)
    raise KustoRefusal(
        f"Syntax error: SYN0100: this is not a command that is known here: '{' '.join(text.split())[:60]}'",
        kind="Kusto.Data.Exceptions.SyntaxException",
    )


def _answer(engine: Engine, text: str, principal: str) -> Result:
    """What a command that takes a query or a `.show` command reads."""
    if not text.lstrip().startswith("."):
        engine.access.reads(principal)
        return engine.query(text)
    if not is_show(text.lstrip()):
        raise KustoRefusal("Syntax error: SYN0002: expected a query or a .show command")
    return run(engine, text, principal=principal)
