"""Whether a new function's body names only what is there: by its words, which is cheap where parsing is not.

Kusto validates a function when it is created (except with `skipvalidation`):
https://learn.microsoft.com/kusto/management/create-alter-function. A column is known when a table that the body, or a
function it calls, names has it, or when something in them gives it that name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from duckdb_kql.translate import _SPECIAL_FORMS
from duckdb_kql.translate.functions import AGGREGATE_FUNCTIONS, SCALAR_FUNCTIONS

from opencost_kusto.emulator.kusto.catalog import TYPES, KustoRefusal, Table
from opencost_kusto.emulator.kusto.functions import Function, called, identifiers
from opencost_kusto.emulator.kusto.syntax import masked, split_commas

_OPERATORS_TEXT: Final = (
    "as consume count distinct evaluate extend facet filter find fork getschema graph-match invoke join limit lookup "
    "make-graph make-series mv-apply mv-expand order parse parse-kv parse-where partition print project project-away "
    "project-by-names project-keep project-rename project-reorder range reduce render sample sample-distinct scan "
    "search serialize sort summarize take top top-hitters top-nested union where"
)
_WORDS_TEXT: Final = (
    "and or not in has hasprefix hassuffix has_any has_all contains startswith endswith matches regex between like "
    "has_cs contains_cs startswith_cs endswith_cs by on kind hint strategy shuffle broadcast shufflekey num_partitions "
    "asc desc nulls first last true false null let set declare query_parameters with withsource isfuzzy source inner "
    "innerunique leftouter rightouter fullouter leftanti rightanti leftsemi rightsemi anti of to from step default "
    "away keep rename reorder expand apply series nested bag array mv make simple relaxed flags typeof datatable "
    "with_itemindex boolean double date time uuid uniqueid"
)
_CALLS_TEXT: Final = (
    "materialize toscalar range table database cluster extent_id ingestion_time column_ifexists isnull isnotnull "
    "dynamic datetime timespan guid decimal real long int bool print hll tdigest row_number prev next"
)
_OPERATORS: Final = frozenset(_OPERATORS_TEXT.split())
_WORDS: Final = frozenset(_WORDS_TEXT.split())
_CALLS: Final = frozenset(_CALLS_TEXT.split())
_WITHOUT_ARGUMENTS: Final = frozenset({"consume", "count", "getschema", "serialize"})
_LITERAL: Final = re.compile(r"\b(datetime|timespan|guid|time|date)\s*\([^()]*\)")
_TOKEN: Final = re.compile(r"(\.\s*[A-Za-z_]\w*)|(\$\w+)|(\d[\w.]*)|([A-Za-z_]\w*)|(\S)")
_CALL: Final = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_PIPE: Final = re.compile(r"\|\s*([A-Za-z][\w-]*)?\s*(.?)", re.DOTALL)
_DECLARED: Final = re.compile(r"\b(?:let|as|range)\s+([A-Za-z_]\w*)|([A-Za-z_]\w*)\s*(?:=(?![=~])|:)")
_DERIVED: Final = re.compile(r"(?:[a-z_]+_\w*|Column\d+)")


def check(function: Function, tables: Mapping[str, Table], functions: Mapping[str, Function]) -> None:
    """Refuse a function whose body does not read, or names a function, table or column that is not there."""
    text = _LITERAL.sub(lambda found: " " * len(found[0]), masked(function.body))
    _check_shape(function.name, text)
    others = {name: one for name, one in called(function.body, functions).items() if name != function.name}
    resolved = {name for name, _, _ in function.declared} | set(tables) | set(others)
    for body in (function.body, *(one.body for one in others.values())):
        resolved |= declared(body)
        resolved |= {column for name in identifiers(body) & set(tables) for column in tables[name].columns}
    _check_calls(function, text, functions)
    tokens = [(found.lastindex, found[0]) for found in _TOKEN.finditer(text)]
    for at, (kind, token) in enumerate(tokens):
        if kind != 4 or token in _WORDS or token in TYPES:
            continue
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        before = tokens[at - 1][1] if at else ""
        if following == "(":
            if not (_is_built_in(token) or token in resolved or token in _OPERATORS):
                raise _unresolved(f"Unknown function: '{token}'.", function.name)
        elif not (token in resolved or _is_derived(token, resolved) or _is_operator(token, before, following)):
            is_table = following == "|" or before in ("{", ";", "union")
            what = "table or column expression" if is_table else "scalar expression"
            raise _unresolved(f"Failed to resolve {what} named '{token}'", function.name)


@lru_cache(maxsize=512)
def declared(text: str) -> frozenset[str]:
    """The names that a text gives: by `let`, `as` and `range`, and to columns and parameters."""
    plain = _LITERAL.sub(lambda found: " " * len(found[0]), masked(text))
    return frozenset(found[1] or found[2] for found in _DECLARED.finditer(plain))


def _check_calls(function: Function, text: str, functions: Mapping[str, Function]) -> None:
    """Refuse a call of a stored function with fewer arguments than it needs, or more than it has."""
    for call in _CALL.finditer(text):
        if call[1] not in functions or call[1] == function.name:
            continue
        closing = _closing(text, call.end())
        given = len(split_commas(function.body[call.end() : closing]))
        declared = functions[call[1]].declared
        least = sum(default is None for _, _, default in declared)
        if not least <= given <= len(declared):
            raise _unresolved(
                f"{call[1]}(): the function expects {least} to {len(declared)} arguments, not {given}", function.name
            )


def _closing(text: str, start: int) -> int:
    """Where the bracket closes that is open before `start`."""
    depth = 1
    for at in range(start, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0:
            return at
    return len(text)


def _is_built_in(name: str) -> bool:
    return name in SCALAR_FUNCTIONS or name in AGGREGATE_FUNCTIONS or name in _SPECIAL_FORMS or name in _CALLS


def _is_derived(name: str, resolved: set[str]) -> bool:
    """Whether Kusto makes a name: `sum_Cost` of an aggregate, `Cluster1` of a join."""
    return bool(_DERIVED.fullmatch(name)) or (name.rstrip("0123456789") in resolved and name[-1].isdigit())


def _is_operator(name: str, before: str, following: str) -> bool:
    """Whether a word is an operator, or half of one with a hyphen."""
    return (name in _OPERATORS and before in ("|", "(", "{", ";", "=", "-")) or "-" in (before, following)


def _check_shape(name: str, text: str) -> None:
    """Brackets in pairs, known operators, and something behind those that need it."""
    expected: list[str] = []
    for char in text:
        if char in "([{":
            expected.append({"(": ")", "[": "]", "{": "}"}[char])
        elif char in ")]}" and (not expected or expected.pop() != char):
            raise _syntax(f"unexpected '{char}'", name)
    for pipe in _PIPE.finditer(text):
        operator, following = (pipe[1] or "").lower(), pipe[2]
        if operator not in _OPERATORS:
            raise _syntax(f"expected an operator behind '|', found '{operator or following}'", name)
        if operator not in _WITHOUT_ARGUMENTS and following in ("", "|", "}", ")", ";"):
            raise _syntax(f"the operator '{operator}' has no arguments", name)


def _syntax(what: str, function: str) -> KustoRefusal:
    return KustoRefusal(
        f"Syntax error: SYN0002: {what} in function '{function}'", kind="Kusto.Data.Exceptions.SyntaxException"
    )


def _unresolved(what: str, function: str) -> KustoRefusal:
    return KustoRefusal(
        f"Semantic error: SEM0100: {what} in function '{function}'", kind="Kusto.Data.Exceptions.SemanticException"
    )
