"""The shipped tables and functions as the analyser takes them."""

from __future__ import annotations

from typing import Final

from opencost_kusto.database.functions import functions
from opencost_kusto.schema.tables import TABLES
from tests.support.kql_analyser import Schema

# In their parts: the analyser takes a quarter of a second to cut a command, and their files are checked as commands.
SHIPPED: Final = Schema(
    {table.name: [(column.name, column.type) for column in table.columns] for table in TABLES},
    [(one.name, one.signature.removeprefix(one.name), one.body) for one in functions()],
)
