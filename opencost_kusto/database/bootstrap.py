"""Makes a database hold what the bundled `.kql` declares: each command only where something differs.

Never changes a column's type and never drops anything; a difference it may not mend is explained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from opencost_kusto.database.kql import Command, Definition, commands, defined, mapped
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.kql import paths

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_TABLE = re.compile(
    r"\.create-merge table (\w+) \((.*)\) with \(docstring = " + _TEXT + r", folder = " + _TEXT, re.DOTALL
)
_DOCS = re.compile(r"\.alter-merge table (\w+) column-docstrings")
_POLICY = re.compile(r"\.alter(?:-merge)? table (\w+) policy (\w+)\s*```(.*)```", re.DOTALL)


@dataclass(slots=True)
class Database:
    """What a database holds now, read on demand: its schema at once, mappings and policies by table."""

    kusto: Kusto
    tables: dict[str, Json] = field(default_factory=dict)
    functions: dict[str, Json] = field(default_factory=dict)

    def read(self) -> Database:
        """Read the schema; raises KustoError."""
        text = self.kusto.command(f".show database ['{self.kusto.database}'] schema as json")[0]["DatabaseSchema"]
        databases = json.loads(text)["Databases"]
        schema = next(iter(databases.values())) if databases else {}
        self.tables = schema.get("Tables") or {}
        self.functions = schema.get("Functions") or {}
        return self

    def columns(self, table: str) -> dict[str, Json]:
        """The columns of a table by name; none when there is no such table."""
        return {column["Name"]: column for column in self.tables.get(table, {}).get("OrderedColumns", [])}

    def mappings(self, table: str) -> dict[str, dict[str, str]]:
        """The JSON mappings of a table: column-to-path pairs by name."""
        if table not in self.tables:
            return {}
        rows = self.kusto.command(f".show table {table} ingestion json mappings")
        return {row["Name"]: paths(_json(row["Mapping"])) for row in rows}

    def policy(self, table: str, name: str) -> Json:
        """A policy of a table, or None."""
        if table not in self.tables:
            return None
        rows: list[Row] = self.kusto.command(f".show table {table} policy {name}")
        return _json(rows[0]["Policy"]) if rows and rows[0]["Policy"] else None


@dataclass(frozen=True, slots=True)
class Difference:
    """One command whose effect the database lacks, and what is lacking; `conflict` when it may not be mended."""

    command: Command
    what: str
    conflict: bool = False


def differences(kusto: Kusto) -> Iterator[Difference]:
    """Compare the database with the bundled commands, in their order. Raises KustoError."""
    database = Database(kusto).read()
    for command in commands():
        yield from (Difference(command, what, conflict) for what, conflict in _difference(command, database))


def bootstrap(kusto: Kusto, on_result: Callable[[Difference], None] = lambda _: None) -> int:
    """Mend every difference, command by command, and return how many there were; 0 when nothing had to change.

    Raises KustoError naming file and line for the first command that fails, and, before anything is changed, when a
    column has another type than declared.
    """
    found = list(differences(kusto))
    conflicts = [difference.what for difference in found if difference.conflict]
    if conflicts:
        raise KustoError(
            f"{'; '.join(conflicts)}. A column's type is never altered, since that would lose its data: rename the old "
            "table (.rename table) or use another database, and bootstrap again."
        )
    for difference in found:
        try:
            kusto.command(difference.command.text)
        except KustoError as error:
            raise KustoError(f"{difference.command.place}: {error}") from error
        on_result(difference)
    return len(found)


def _difference(command: Command, database: Database) -> Iterator[tuple[str, bool]]:
    """What a command would change: a sentence each, and whether it is a conflict."""
    text = command.text
    if match := _TABLE.match(text):
        yield from _table(match, database)
    elif match := _DOCS.match(text):
        wanted = {name: json.loads(f'"{doc}"') for name, doc in re.findall(r"^\s+(\w+): " + _TEXT, text, re.MULTILINE)}
        found = {name: column.get("DocString") or "" for name, column in database.columns(match[1]).items()}
        missing = [name for name, doc in wanted.items() if found.get(name) != doc]
        if missing:
            yield f"docstrings of {len(missing)} columns of {match[1]} differ", False
    elif mapping := mapped(text):
        table = text.split()[2]
        if database.mappings(table).get(mapping[0]) != mapping[1]:
            yield f"mapping {mapping[0]} is missing or differs", False
    elif match := _POLICY.match(text):
        if not _covers(database.policy(match[1], match[2]), json.loads(match[3])):
            yield f"policy {match[2]} of {match[1]} differs", False
    elif definition := defined(text):
        yield from _function(definition, database)
    else:
        raise KustoError(f"{command.place} is not a command bootstrap can compare: {text[:60]!r}.")


def _table(match: re.Match[str], database: Database) -> Iterator[tuple[str, bool]]:
    name, declared = match[1], dict(re.findall(r"(\w+): (\w+)", match[2]))
    if name not in database.tables:
        yield f"table {name} is missing", False
        return
    found = database.columns(name)
    missing = [column for column in declared if column not in found]
    if missing:
        yield f"{name} lacks {', '.join(missing)}", False
    elif database.tables[name].get("DocString") != json.loads(f'"{match[3]}"'):
        yield f"docstring of {name} differs", False
    for column, kind in declared.items():
        if column in found and found[column]["CslType"] != kind:
            yield f"{name}.{column} is {found[column]['CslType']} in the database and {kind} here", True


def _function(wanted: Definition, database: Database) -> Iterator[tuple[str, bool]]:
    found = database.functions.get(wanted.name)
    if found is None:
        yield f"function {wanted.name} is missing", False
    elif _squeezed(found["Body"]) != _squeezed(wanted.body) or (found.get("DocString") or "") != wanted.doc:
        yield f"function {wanted.name} differs", False


def _covers(found: Json, wanted: Json) -> bool:
    """Whether a policy says at least what is wanted; the service adds fields of its own."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_covers, found, wanted))
    return bool(found == wanted)


def _json(value: Json) -> Json:
    return json.loads(value) if isinstance(value, str) else value


def _squeezed(text: str) -> str:
    return " ".join(text.split())
