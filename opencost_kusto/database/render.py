"""Declarations to `.kql`: `python -m opencost_kusto.database.render` writes `kql/tables/`, and some functions."""

from __future__ import annotations

from opencost_kusto.database import proofs, window_states
from opencost_kusto.database.script import root
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import (
    batching_policy,
    column_docstrings,
    create_flat_mapping,
    create_mapping,
    create_table,
    tags_policy,
)
from opencost_kusto.schema.tables import TABLES

_HEAD = (
    "// Rendered from opencost_kusto/schema/tables.py by `python -m opencost_kusto.database.render`; edit that instead."
)


def render(table: Table) -> str:
    """The text of `kql/tables/<table>.kql`."""
    mappings = (create_mapping(table), create_flat_mapping(table))
    parts = (create_table(table), column_docstrings(table), *mappings, batching_policy(table.name), tags_policy(table))
    return "\n\n".join((_HEAD, *parts)) + "\n"


def main() -> None:
    """Render the declarations into `kql/tables/`, and the functions that name every table."""
    folder = root() / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        (folder / f"{table.name}.kql").write_text(render(table), encoding="utf-8")
    for name, text in {**window_states.functions(), **proofs.functions()}.items():
        (root() / "functions" / f"{name}.kql").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
