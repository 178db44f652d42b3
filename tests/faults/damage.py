"""Damage to a landed batch, as people, restores and other programs do it: rows deleted, doubled, mixed, overwritten."""

from __future__ import annotations

from opencost_kusto.schema.tables import ALLOCATION

_T = ALLOCATION.name


def delete(where: str) -> str:
    """The command that deletes rows. Their extents keep their tags.

    https://learn.microsoft.com/kusto/concepts/data-soft-delete
    """
    return f".delete table {_T} records <| {_T} | where {where}"


def copy(where: str = "RowNumber > 0", **values: str) -> str:
    """The command that appends copies of rows, with other values in some columns."""
    return f".set-or-append {_T} <| {_changed(where, values)}"


def change(where: str, **values: str) -> str:
    """The command that gives rows other values."""
    return f".update table {_T} delete D append A <| let D = {_T} | where {where}; let A = {_changed(where, values)};"


def _changed(where: str, values: dict[str, str]) -> str:
    columns = (f"{one.name} = {values[one.name]}" if one.name in values else one.name for one in ALLOCATION.columns)
    return f"{_T} | where {where} | project {', '.join(columns)}"


# Each kind of damage to the recorded hour's eight rows: commands, and what is said of it.
DAMAGE: dict[str, tuple[tuple[str, ...], str]] = {
    "rows missing": ((delete("RowNumber <= 2"),), "6 rows instead of 8: some are missing or duplicated"),
    "the last row missing": ((delete("RowNumber == 8"),), "7 rows: some are missing or duplicated"),
    "all rows doubled": ((copy(),), "16 rows instead of 8: some are missing or duplicated"),
    "one row doubled": ((copy("RowNumber == 3"),), "9 rows instead of 8: some are missing or duplicated"),
    "the last row doubled": ((copy("RowNumber == 8"),), "9 rows instead of 8: some are missing or duplicated"),
    "one doubled, one missing": (
        (copy("RowNumber == 3"), delete("RowNumber == 4")),
        "8 rows instead of 8: some are missing or duplicated",
    ),
    # 3 + 4 is 2 + 5: the squares tell.
    "as many doubled as missing": (
        (copy("RowNumber in (3, 4)"), delete("RowNumber in (2, 5)")),
        "8 rows instead of 8: some are missing or duplicated",
    ),
    "two responses mixed": (
        (change("RowNumber <= 4", CollectionTime="CollectionTime + 1d"),),
        "8 rows of two responses",
    ),
    "two responses beside each other": (
        (copy(CollectionTime="CollectionTime + 1d", BatchKeys='""'),),
        "16 rows of two responses",
    ),
    "a cost altered": ((change("RowNumber == 3", TotalCost="TotalCost + 0.5"),), "8 rows whose sums are not those"),
    "costs lost": ((change("RowNumber > 0", TotalCost="real(null)"),), "8 rows whose sums are not those of the batch"),
    "totals altered": (
        (change("RowNumber == 8", BatchRows="long(9)"),),
        "8 rows whose sums are not those of the batch",
    ),
    "another mapping": (
        (change("RowNumber > 0", RowNumber="long(null)", BatchRows="long(null)", BatchCost="long(null)"),),
        "8 rows without numbers, which another mapping or another program wrote",
    ),
}
