"""JSON in: a file cut into records, and the SELECT that maps them to columns as Kusto does."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping as Fields
from typing import Any, Final, NamedTuple

import msgspec

from opencost_kusto.emulator.kusto.catalog import TYPES, KustoRefusal, Mapping, Table

_STEP: Final = re.compile(r"""\.([A-Za-z_$@][\w$@-]*)|\[\s*'([^']*)'\s*\]|\[\s*"([^"]*)"\s*\]|\[(\d+)\]""")
_LARGEST: Final = 1 << 20
_JSON_VALUE: Final = msgspec.json.Decoder()


class MalformedFile(Exception):
    """The file as a whole is refused, for one record."""


class Select(NamedTuple):
    """SQL that yields the named columns, in order, and its parameters."""

    sql: str
    parameters: dict[str, Any]
    columns: list[str]


def parse_mapping(text: str) -> Mapping:
    """The mapping of `.create-or-alter table … ingestion json mapping`."""
    try:
        entries = json.loads(text)
    except ValueError as wrong:
        raise KustoRefusal(f"Ingestion mapping is not valid JSON: {wrong}", code="BadRequest_InvalidMapping") from None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise KustoRefusal("Ingestion mapping must be a list of column mappings", code="BadRequest_InvalidMapping")
    for entry in entries:
        column, path = _column(entry), _path(entry)
        if not isinstance(column, str) or not isinstance(path, str):
            raise KustoRefusal(f"Mapping needs a column and a path: {entry}", code="BadRequest_InvalidMapping")
        _duckdb_path(path)
    return Mapping(entries)


def records(data: bytes, kind: str) -> list[str]:
    """The records of a `multijson` or `json` file, as JSON texts.

    `multijson` takes any JSON objects one after the other, or an array of them, and refuses the file when one is
    malformed; `json` takes one object a line and leaves malformed lines out without a word.
    """
    text = data.decode("utf-8-sig", errors="strict" if kind == "multijson" else "replace")
    lines = [line for line in text.split("\n") if line.strip()]
    if kind == "json":
        return [line for line in lines if _is_object(line)]
    try:
        # Line by line: msgspec's `decode_lines` takes records that span lines, which are not lines to be mapped.
        if all(isinstance(_JSON_VALUE.decode(line), dict) for line in lines):
            return lines
    except msgspec.DecodeError:
        pass
    return _anywhere(text)


def csv_records(table: Table, text: str) -> list[str]:
    """The lines of a CSV text as JSON texts by the table's columns, in order; an empty field is null."""
    found = []
    for number, fields in enumerate(csv.reader(io.StringIO(text), skipinitialspace=True), 1):
        if not fields:
            continue
        if len(fields) > len(table.columns):
            raise MalformedFile(f"record {number} has {len(fields)} fields, the table {len(table.columns)}")
        row: dict[str, Any] = {}
        for (column, kind), value in zip(table.columns.items(), fields, strict=False):
            row[column] = _dynamic(value) if kind == "dynamic" else value or None
        found.append(json.dumps(row))
    return found


def identity(table: Table) -> Mapping:
    """The mapping of a table without one: each column from the property of its name."""
    return Mapping([{"column": name, "Properties": {"Path": f"$['{name}']"}} for name in table.columns])


def select(table: Table, mapping: Mapping, rows: list[str]) -> Select:
    """Map records to the columns of a table: what is absent, or not of the column's type, is null.

    So is a dynamic value of more than 1 MiB: https://learn.microsoft.com/kusto/query/scalar-data-types/dynamic
    """
    scalars: list[str] = []
    documents: list[str] = []
    terms: list[str] = []
    columns: list[str] = []
    for entry in mapping.entries:
        column, path = _column(entry), _duckdb_path(_path(entry))
        if column not in table.columns:
            raise KustoRefusal(
                f"Mapping names column '{column}', which the table has not", code="BadRequest_InvalidMapping"
            )
        columns.append(column)
        if table.columns[column] == "dynamic":
            documents.append(path)
            value = f"d[{len(documents)}]"
            terms.append(f"CASE WHEN json_type({value}) <> 'NULL' AND strlen({value}) <= {_LARGEST} THEN {value} END")
        else:
            scalars.append(path)
            terms.append(_cast(f"s[{len(scalars)}]", table.columns[column]))
    sql = (
        f"SELECT {', '.join(terms)} FROM (SELECT json_extract_string(r, $scalars::VARCHAR[]) AS s, "
        "json_extract(r, $documents::VARCHAR[]) AS d FROM (SELECT unnest($rows::VARCHAR[]) AS r))"
    )
    return Select(sql, {"scalars": scalars or ["$"], "documents": documents or ["$"], "rows": rows}, columns)


def _dynamic(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text or None


def _cast(text: str, kind: str) -> str:
    if kind == "string":
        return text
    if kind == "datetime":
        return f"TRY_CAST({text} AS TIMESTAMPTZ)::TIMESTAMP"
    cast = f"TRY_CAST({text} AS {TYPES[kind].sql})"
    if kind in {"long", "int"}:
        # DuckDB rounds 1.5 to 2; Kusto's value would be null.
        return f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+') THEN {cast} END"
    return cast


def _column(entry: Fields[str, Any]) -> Any:
    return next((value for name, value in entry.items() if name.lower() == "column"), None)


def _path(entry: Fields[str, Any]) -> Any:
    properties = next((value for name, value in entry.items() if name.lower() == "properties"), entry)
    found = properties if isinstance(properties, dict) else entry
    return next((value for name, value in found.items() if name.lower() == "path"), None)


def _duckdb_path(path: str) -> str:
    steps, at = ["$"], 1
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            break
        plain, single, double, index = found.groups()
        name = next((one for one in (plain, single, double) if one is not None), "").replace('"', '\\"')
        steps.append(f"[{index}]" if index is not None else f'."{name}"')
        at = found.end()
    if not path.startswith("$") or at < len(path):
        raise KustoRefusal(f"'{path}' is not a JSON path", code="BadRequest_InvalidMapping")
    return "".join(steps)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _is_object(line: str) -> bool:
    try:
        return isinstance(_JSON.decode(line), dict)
    except ValueError:
        return False


def _anywhere(text: str) -> list[str]:
    """Objects one after the other, over any number of lines, or one array of objects."""
    found: list[str] = []
    at, size = 0, len(text)
    try:
        while at < size:
            if text[at].isspace():
                at += 1
                continue
            value, end = _JSON.raw_decode(text, at)
            is_document = not found and not text[end:].strip()
            if is_document and isinstance(value, list) and all(isinstance(one, dict) for one in value):
                return [json.dumps(one) for one in value]
            if not isinstance(value, dict):
                raise MalformedFile(f"record {len(found) + 1} is not a JSON object")
            found.append(text[at:end])
            at = end
    except ValueError as wrong:
        raise MalformedFile(f"record {len(found) + 1} is malformed JSON: {wrong}") from None
    return found
