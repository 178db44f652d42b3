"""The keys that a table reads in its records, as a tree, and the msgspec type of it.

Decoding is fastest where the keys stand in the order in which OpenCost sends them, and where they do, a record of
`spelled` values encodes to the text it was decoded from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from keyword import iskeyword
from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct

from opencost_kusto.schema.columns import Json, Table

_TYPES: dict[str, Any] = {
    "real": float | None,
    "long": int | None,
    "bool": bool | None,
    "string": str | None,
    "datetime": Annotated[datetime, Meta(tz=True)] | None,
    "dynamic": Raw,
}
_LIST = list[str] | None
# The same, where a value is to encode to the text it was decoded from; a larger whole number may not fit a float.
_INTEGER = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
_SPELLED = _TYPES | {"real": _INTEGER | float | None}
# Types that OpenCost writes as null, inside of an object.
_NULLABLE = ("real", "long", "bool")
_NO_BASES: Mapping[str, type[Struct]] = {}


@dataclass(slots=True)
class Node:
    """One key of a record and the keys below it; `kept` where a column has the whole value, so that nothing is lost.

    `missing` is the value where it is missing, `empty` that of an object.
    """

    type: Any = None
    kept: bool = False
    missing: UnsetType | None = None
    below: dict[str, Node] = field(default_factory=dict)
    empty: Struct | None = None


def tree(table: Table, order: tuple[str, ...] = (), *, spelled: bool = False) -> Node:
    """The keys that a table reads or ignores, as a tree, in the order of a record.

    `spelled` values encode to the text that they were decoded from, as far as it is how OpenCost writes them. Raises
    ValueError for a key inside one that is no object.
    """
    types = _SPELLED if spelled else _TYPES
    read = {*table.key_paths, *((table.copied(table.cost),) if table.cost else ())}
    root = Node()
    for key in table.keys():
        node = find(root, key.path)
        node.type = _LIST if key.path in table.unordered else types[key.type]
        node.kept = True
        if spelled and key.type in _NULLABLE and "." in key.path and key.path not in read:
            # A null and a missing value encode to different texts.
            node.type, node.missing = node.type | UnsetType, UNSET
    _check(root, table.name)
    place = {name: number for number, name in enumerate(order)}
    root.below = dict(sorted(root.below.items(), key=lambda item: place.get(item[0], len(order))))
    return root


def find(root: Node, path: str) -> Node:
    """The node of a path, made where it is missing."""
    node = root
    for name in path.split("."):
        node = node.below.setdefault(name, Node())
    return node


def _check(node: Node, path: str) -> None:
    for name, inner in node.below.items():
        if inner.below and inner.type not in (None, Raw):
            raise ValueError(f"{path}.{name} is declared as a value and as an object.")
        _check(inner, f"{path}.{name}")


def struct_of(
    name: str,
    node: Node,
    kept: bool = False,
    bases: Mapping[str, type[Struct]] = _NO_BASES,
    *,
    as_text: bool = False,
) -> type[Struct]:
    """The msgspec type of an object; what no column keeps whole must have no other keys than the declared ones.

    `bases` are base classes by name. Encoding leaves out what is missing; `as_text` leaves every value as it is
    written.
    """
    fields: list[tuple[str, Any, Any]] = []
    for key, inner in node.below.items():
        if inner.below:
            struct = struct_of(key, inner, kept or inner.kept, bases, as_text=as_text)
            empty = struct()
            if not as_text:
                inner.empty = empty
            fields.append((key, struct | None, empty))
        else:
            fields.append((key, Raw if as_text else inner.type, inner.missing))
    base = (bases[name],) if name in bases else None
    # Values out of JSON cannot refer to themselves, so the garbage collector need not look at them.
    return defstruct(
        name, fields, bases=base, forbid_unknown_fields=not kept, frozen=True, gc=False, omit_defaults=True
    )


def reordered(node: Node, document: dict[str, Json], kept: bool = False) -> Node:
    """A node with the keys of an object in its order, and those that a column keeps as part of it; itself if so."""
    keys = [key for key in document if key in node.below or (kept and _can_be_a_field(key))]
    remaining, below = iter(node.below), node.below
    if not all(key in remaining for key in keys):
        below = {key: below.get(key) or Node(Raw, kept=True) for key in _merged(list(below), keys)}
    objects = [(key, below[key]) for key in keys if below[key].below and isinstance(document[key], dict)]
    inside = {key: reordered(inner, document[key], kept or inner.kept) for key, inner in objects}
    if below is node.below and all(inside[key] is inner for key, inner in objects):
        return node
    return replace(node, below=below | inside)


def _can_be_a_field(key: str) -> bool:
    return key.isidentifier() and not key.startswith("_") and not iskeyword(key)


def _merged(order: list[str], keys: list[str]) -> list[str]:
    """An order of keys in which some keys stand in their own, each that moves behind the one that it came behind."""
    at = 0
    for key in keys:
        if key in order[at:]:
            at = order.index(key) + 1
            continue
        if key in order:
            order.remove(key)
            at -= 1
        order.insert(at, key)
        at += 1
    return order


def raw_paths(node: Node, path: str = "") -> list[str]:
    """The paths of an object's values that are kept as text."""
    found: list[str] = []
    for name, inner in node.below.items():
        if inner.below:
            found += raw_paths(inner, f"{path}{name}.")
        elif inner.type is Raw:
            found.append(f"{path}{name}")
    return found
