"""Commands that delete rows: `.update table`, in one transaction with the rows that come in their place, and `.delete`.

The rules are of https://learn.microsoft.com/kusto/management/update-table-command and, for what a predicate may hold,
https://learn.microsoft.com/kusto/concepts/data-soft-delete
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto import policy_commands
from opencost_kusto.emulator.kusto.catalog import KustoRefusal, Table
from opencost_kusto.emulator.kusto.engine import Engine, result
from opencost_kusto.emulator.kusto.functions import called, identifiers
from opencost_kusto.emulator.kusto.rows import EXTENT_ID, ROW_ID
from opencost_kusto.emulator.kusto.session import Session
from opencost_kusto.emulator.kusto.syntax import Cursor, flag, split, texts

_ANSWER: Final = {"Table": "string", "Action": "string", "ExtentId": "guid", "RowCount": "long"}
_OPERATORS: Final = ("extend", "order", "project", "take", "where")
_LET: Final = re.compile(r"let\s+([A-Za-z_]\w*)\s*=\s*(.*)", re.DOTALL)
_NO_EXTENT: Final = "00000000-0000-0000-0000-000000000000"


def update(session: Session, cursor: Cursor) -> Result:
    """`.update table T delete D append A|move S [with (whatif=…, extentTagsToMove='[…]')] <| let D = …; let A = …;`."""
    engine = session.engine
    table = engine.table(cursor.name())
    session.access.table_admin(session.principal, table.name, "TableUpdateCommand")
    cursor.expect("delete")
    deleting = cursor.name()
    moves = cursor.accept("move")
    if not moves:
        cursor.expect("append")
    arriving = cursor.name()
    options = cursor.options()
    cursor.expect("<|")
    statements = _statements(cursor.rest())
    doomed = _doomed(engine, table, statements, deleting)
    append = None if moves else _query(statements, arriving)
    if moves:
        session.access.table_admin(session.principal, arriving, "TableUpdateCommand")
    moved = _moved(table, engine.table(arriving), options) if moves else {}
    lost = Counter(extent for _, extent in doomed)
    deletes = [[table.name, "Delete", extent, rows] for extent, rows in lost.items()]
    if flag(options, "whatif"):
        creates = [(id, source.extents[id].rows) for id, source in moved.items()]
        if append is not None:
            creates = [(_NO_EXTENT, len(engine.query(append).rows))]
        return result(_ANSWER, deletes + [[table.name, "Create", id, rows] for id, rows in creates])
    made = engine.update(table, doomed, append, moved)
    return result(_ANSWER, deletes + [[table.name, "Create", one.id, one.rows] for one in made])


def delete(session: Session, cursor: Cursor) -> Result:
    """`.delete table T records [with (whatif=…)] <| predicate`, or `.delete table T policy P`."""
    engine = session.engine
    table = engine.table(cursor.name())
    if cursor.accept("policy"):
        return policy_commands.delete(session, table, cursor)
    cursor.expect("records")
    session.access.admin(session.principal, "TableSoftDeleteCommand")
    options = cursor.options()
    cursor.expect("<|")
    doomed = _doomed(engine, table, {"D": cursor.rest().rstrip(";")}, "D")
    rows = Counter(extent for _, extent in doomed)
    if not flag(options, "whatif"):
        engine.update(table, doomed, None, {})
    return result({"ExtentId": "guid", "RecordsMatchPredicate": "long"}, [list(one) for one in rows.items()])


def _statements(text: str) -> dict[str, str]:
    """The `let` statements behind the command, by name; nothing else may stand there."""
    found = {}
    for statement in split(text, ";"):
        let = _LET.fullmatch(statement)
        if let is None:
            raise KustoRefusal(f"Syntax error: SYN0002: expected a let statement, found '{statement[:20]}'")
        found[let[1]] = let[2]
    return found


def _query(statements: Mapping[str, str], name: str) -> str:
    if name not in statements:
        raise KustoRefusal(f"Semantic error: the identifier '{name}' is not defined by a let statement")
    return "".join(f"let {one} = {text};\n" for one, text in statements.items()) + name


def _doomed(engine: Engine, table: Table, statements: Mapping[str, str], name: str) -> list[tuple[int, str]]:
    """The rows that a predicate deletes; raises KustoRefusal for one that is not allowed."""
    _query(statements, name)
    head, *operators = split(statements[name], "|")
    if head.strip("[]'\" ") != table.name:
        raise KustoRefusal(f"The delete predicate can only reference the table '{table.name}', not '{head[:60]}'")
    written = [head]
    for operator in operators:
        word, _, rest = operator.partition(" ")
        if word not in _OPERATORS:
            raise KustoRefusal(f"The delete predicate has the operator '{word}'; allowed are {', '.join(_OPERATORS)}")
        written.append(f"project {EXTENT_ID}, {ROW_ID}, {rest}" if word == "project" else operator)
    if not any(operator.startswith("where") for operator in operators):
        raise KustoRefusal("The delete predicate must contain at least one 'where' operator")
    read = [statements[name], *(one.body for one in called(statements[name], engine.functions).values())]
    if others := set().union(*map(identifiers, read)) & set(engine.tables) - {table.name}:
        raise KustoRefusal(f"The delete predicate can only reference the table '{table.name}', not {sorted(others)}")
    doomed = engine.matching(table, "\n| ".join([*written, f"project {ROW_ID}"]))
    if len(doomed) > engine.most_deleted:
        raise KustoRefusal(
            f"The command deletes {len(doomed)} records; at most {engine.most_deleted} can be deleted at once"
        )
    return doomed


def _moved(table: Table, source: Table, options: Mapping[str, str]) -> dict[str, Table]:
    """The extents to move, with their table, which has the same schema: all, or those with one of the tags."""
    if list(source.columns.items()) != list(table.columns.items()):
        raise KustoRefusal(f"The schema of table '{source.name}' is not the schema of table '{table.name}'")
    if source is table:
        raise KustoRefusal(f"Extents of table '{table.name}' cannot be moved into itself")
    tags = set(texts(options, "extenttagstomove"))
    return {id: source for id, extent in source.extents.items() if not tags or tags & set(extent.tags)}
