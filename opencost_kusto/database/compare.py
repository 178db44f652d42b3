"""Compare a database with what is declared: the tables of `schema` and the functions of `kql/functions`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from opencost_kusto.database.catalog import Catalog
from opencost_kusto.database.functions import Function, Parameter, read
from opencost_kusto.database.script import commands
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.kql import (
    FOLDER,
    batching_policy,
    column_docstrings,
    create_flat_mapping,
    create_mapping,
    create_table,
    literal,
    policy_json,
    tags_policy,
)
from opencost_kusto.schema.tables import TABLES

_STRING = re.compile(r"""@?"(.*)"|@?'(.*)'""")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something missing in the database, the command that adds it, and the file and line where it is declared.

    `required` marks what loading and reading require: tables, mappings and functions. Policies and docstrings are
    optional. A `conflict` is never resolved automatically, because that would lose data. `creates`: the command makes
    a new table or function.
    """

    what: str
    command: str
    place: str
    required: bool = True
    conflict: bool = False
    creates: bool = False

    def __str__(self) -> str:
        return f"{self.what} ({self.place}){'' if self.required else ' [optional]'}"


def differences(kusto: Kusto) -> Iterator[Difference]:
    """Compare the database with what is declared, in the order in which commands must run. Raises KustoError."""
    catalog = Catalog.read(kusto)
    places = {command.text: command.place for command in commands("tables")}
    for table in sorted(TABLES, key=lambda table: table.name):
        for one in _table(table, catalog):
            # A command that is not in the file has the place of the table's first command.
            place = places.get(one.command) or places[create_table(table)]
            yield replace(one, place=place)
    for command in commands("functions"):
        function = read(command)
        for what in _function(function, catalog):
            yield Difference(what, command.text, command.place, creates=function.name not in catalog.functions)


def _table(table: Table, catalog: Catalog) -> Iterator[Difference]:
    """The differences of a table; the places are filled in later."""
    create, name = create_table(table), table.name
    found = catalog.columns(name)
    if name not in catalog.tables:
        yield Difference(f"table {name} is missing", create, "", creates=True)
    elif missing := [column.name for column in table.columns if column.name not in found]:
        yield Difference(f"{name} has no column {', '.join(missing)}", create, "")
    for column in table.columns:
        if column.name in found and (actual := found[column.name]["CslType"]) != column.type:
            what = f"{name}.{column.name} is {actual} in the database and {column.type} here"
            yield Difference(what, create, "", conflict=True)
    yield from _sentences(table, catalog)
    yield from _mapping(table, catalog)
    for policy, command in (
        ("ingestionbatching", batching_policy(name)),
        ("extent_tags_retention", tags_policy(table)),
    ):
        if not _is(partial(catalog.policy, name, policy), policy_json(command), _covers):
            yield Difference(f"policy {policy} of {name} differs", command, "", required=False)


def _sentences(table: Table, catalog: Catalog) -> Iterator[Difference]:
    """Docstrings and folder; `.create-merge table` leaves those of a table that exists.

    https://learn.microsoft.com/kusto/management/create-merge-table-command
    """
    name, existing = table.name, catalog.tables.get(table.name)
    if existing is not None and (existing.get("DocString") or "") != table.doc:
        command = f".alter table {name} docstring {literal(table.doc)}"
        yield Difference(f"docstring of {name} differs", command, "", required=False)
    if existing is not None and (existing.get("Folder") or "") != FOLDER:
        yield Difference(
            f"folder of {name} differs", f".alter table {name} folder {literal(FOLDER)}", "", required=False
        )
    found = {column: one.get("DocString") or "" for column, one in catalog.columns(name).items()}
    if stale := [column.name for column in table.columns if found.get(column.name) != column.doc]:
        what = f"docstrings of {len(stale)} columns of {name} differ"
        yield Difference(what, column_docstrings(table), "", required=False)


def _mapping(table: Table, catalog: Catalog) -> Iterator[Difference]:
    declared = {column.name: f"$.{table.path_of(column)}" for column in table.columns}
    if not _is(lambda: catalog.mappings(table.name).get(table.mapping), declared):
        yield Difference(f"mapping {table.mapping} is missing or differs", create_mapping(table), "")
    flat = {column.name: f"$.{column.name}" for column in table.columns}
    if not _is(lambda: catalog.mappings(table.name).get(table.flat_mapping), flat):
        what = f"mapping {table.flat_mapping} is missing or differs"
        yield Difference(what, create_flat_mapping(table), "", required=False)


def _function(declared: Function, catalog: Catalog) -> Iterator[str]:
    found = catalog.functions.get(declared.name)
    if found is None:
        yield f"function {declared.name} is missing"
        return
    parts = {
        "parameters": parameters_of(found) != [comparable(each) for each in declared.parameters],
        "body": _squeezed(found["Body"]) != _squeezed(declared.body),
        "docstring": (found.get("DocString") or "") != declared.doc,
    }
    if differing := [part for part, differs in parts.items() if differs]:
        yield f"function {declared.name} differs: {', '.join(differing)}"


def parameters_of(found: Json) -> list[tuple[str, str, str | None]]:
    """Name, type and default, as the schema has them.

    https://github.com/Azure/monaco-kusto/blob/master/package/src/languageServiceManager/schema.ts
    """
    declared = found.get("InputParameters") or []
    each = (Parameter(one["Name"], one.get("CslType", ""), one.get("CslDefaultValue")) for one in declared)
    return [comparable(one) for one in each]


def comparable(parameter: Parameter) -> tuple[str, str, str | None]:
    """A parameter with its default normalized, independent of quotes and spaces."""
    default = parameter.default
    if default is not None and (text := _STRING.fullmatch(default.strip())):
        default = f'"{text[1] if text[1] is not None else text[2]}"'
    elif default is not None:
        default = re.sub(r"\s+", "", default).lower()
    return parameter.name, parameter.type, default


def _is(read: Callable[[], Json], declared: Json, equal: Callable[[Json, Json], bool] | None = None) -> bool:
    """Whether a value is as declared. A value that cannot be read counts as different: its command is sent, and changes
    nothing if nothing differs."""
    try:
        found = read()
    except KustoError as error:
        if error.transient:
            raise
        return False
    return equal(found, declared) if equal else bool(found == declared)


def _covers(found: Json, declared: Json) -> bool:
    """Whether a policy has at least the declared fields; the service adds others."""
    if isinstance(declared, dict):
        return isinstance(found, dict) and all(_covers(found.get(key), value) for key, value in declared.items())
    if isinstance(declared, list):
        return isinstance(found, list) and len(found) == len(declared) and all(map(_covers, found, declared))
    return bool(found == declared)


def _squeezed(text: str) -> str:
    return " ".join(text.split())
