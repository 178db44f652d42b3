"""`dashboard`: the shipped dashboard, ready to import into the web UI of Azure Data Explorer."""

from __future__ import annotations

import json
from typing import Annotated

from opencost_kusto.cli.options import option
from opencost_kusto.errors import UsageError
from opencost_kusto.insight.tiles import document_of


def dashboard_command(
    kusto_uri: Annotated[str | None, option("--kusto-uri", "Address of the cluster.")] = None,
    database: Annotated[str | None, option("--database", "Kusto database.")] = None,
) -> None:
    """Print the dashboard as JSON, ready to import: Dashboards, New, Import from file."""
    if not kusto_uri or not database:
        raise UsageError("Name the Kusto database with --kusto-uri and --database.")
    print(json.dumps(document_of(kusto_uri, database), indent=2, ensure_ascii=False))
