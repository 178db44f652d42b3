"""`dashboard`: the shipped dashboard, ready to import into the web UI of Azure Data Explorer, or drawn as pictures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from opencost_kusto.cli.console import Console
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.option_groups import ExplicitOptions
from opencost_kusto.cli.options import option
from opencost_kusto.errors import UsageError
from opencost_kusto.insight.cost_request import window_of
from opencost_kusto.insight.tiles import document_of
from opencost_kusto.names import variable

# Sections of the help.
_PICTURES = "Pictures"
# What a file to import does not need.
_ONLY_DRAWN = ("window", "cluster", "auth", "ingest_uri", "trusted_host")


def dashboard_command(
    kusto_options: KustoOptions,
    pictures: Annotated[
        Path | None,
        option("--pictures", "Draw each page from the database into this folder instead.", panel=_PICTURES),
    ] = None,
    window: Annotated[
        str, option("--window", "What the pictures show: 7d, yesterday, lastmonth, START,END, …", panel=_PICTURES)
    ] = "7d",
    cluster: Annotated[
        list[str] | None, option("--cluster", "This cluster alone; the dashboard shows one, or all.", panel=_PICTURES)
    ] = None,
    *,
    explicit: ExplicitOptions,
    console: Console,
) -> None:
    """Print the dashboard as JSON, ready to import (Dashboards, New, Import from file), or draw its pages."""
    if pictures is None:
        if ignored := [f"--{name.replace('_', '-')}" for name in _ONLY_DRAWN if name in explicit]:
            raise UsageError(f"{', '.join(ignored)} is for --pictures; leave it out.")
        console.out(json.dumps(document_of(*kusto_options.place()), indent=2, ensure_ascii=False))
        return
    from opencost_kusto.insight.pictures import draw_dashboard, require

    if cluster and len(cluster) > 1:
        raise UsageError(f"The dashboard shows one cluster, or all: {variable('--cluster')} takes one name here.")
    require()
    shown = window_of(window, datetime.now(UTC))
    with kusto_options.kusto(console.info) as kusto:
        one = "".join(cluster or ())
        draw_dashboard(kusto, pictures, shown, one, on_page=lambda path: console.info(f"{path} is drawn."))
