"""Load OpenCost's costs into Azure Data Explorer: each window exactly once, complete, and verified.

`sync` is the pipeline; `OpenCost` and `Kusto` are its source and its target. `OpenCost.allocation` and `.assets` read
what OpenCost has, `Kusto.cost` what the database has. Each name is imported when it is used first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from opencost_kusto.version import __version__

if TYPE_CHECKING:
    from opencost_kusto.batch import Batch, RequestOptions, Run, Source, SourceSettings
    from opencost_kusto.cancel import Cancelled, CancelToken
    from opencost_kusto.coverage.backfill import Survey, backfill, survey
    from opencost_kusto.coverage.gaps import Gaps, Target
    from opencost_kusto.coverage.status import DatasetStatus, Failure, status
    from opencost_kusto.database.bootstrap import Bootstrapped, Refused, bootstrap
    from opencost_kusto.database.compare import Difference
    from opencost_kusto.errors import (
        ContentError,
        DuplicateError,
        EmptyError,
        KustoError,
        NotLandedError,
        OpenCostError,
        OpenCostKustoError,
        PartialError,
        ReasonCode,
        UsageError,
    )
    from opencost_kusto.extract.capabilities import Capabilities
    from opencost_kusto.extract.client import OpenCost
    from opencost_kusto.extract.dictionaries import Note
    from opencost_kusto.extract.doors import Doors
    from opencost_kusto.insight.cost import CostReport, cost_report
    from opencost_kusto.insight.cost import Gap as CostGap
    from opencost_kusto.insight.cost_lines import Line as CostLine
    from opencost_kusto.insight.cost_request import CostRequest, Queries
    from opencost_kusto.insight.database import Kusto
    from opencost_kusto.insight.dimensions import Dimension
    from opencost_kusto.kusto.client import Deadlines
    from opencost_kusto.kusto.storage import Uploaded
    from opencost_kusto.load.policy import LoadPolicy
    from opencost_kusto.pipeline.export import export
    from opencost_kusto.pipeline.fleet import Contact, sync_all
    from opencost_kusto.pipeline.identity import Identity
    from opencost_kusto.pipeline.replay import replay
    from opencost_kusto.pipeline.request import BatchPlan, SyncRequest, new_run
    from opencost_kusto.pipeline.sync import sync
    from opencost_kusto.result import BatchResult, Outcome, Report
    from opencost_kusto.schema.columns import Table
    from opencost_kusto.window import Window
    from opencost_kusto.window import parse as parse_window

__all__ = [
    "Batch",
    "BatchPlan",
    "BatchResult",
    "Bootstrapped",
    "CancelToken",
    "Cancelled",
    "Capabilities",
    "Contact",
    "ContentError",
    "CostGap",
    "CostLine",
    "CostReport",
    "CostRequest",
    "DatasetStatus",
    "Deadlines",
    "Difference",
    "Dimension",
    "Doors",
    "DuplicateError",
    "EmptyError",
    "Failure",
    "Gaps",
    "Identity",
    "Kusto",
    "KustoError",
    "LoadPolicy",
    "NotLandedError",
    "Note",
    "OpenCost",
    "OpenCostError",
    "OpenCostKustoError",
    "Outcome",
    "PartialError",
    "Queries",
    "ReasonCode",
    "Refused",
    "Report",
    "RequestOptions",
    "Run",
    "Source",
    "SourceSettings",
    "Survey",
    "SyncRequest",
    "Table",
    "Target",
    "Uploaded",
    "UsageError",
    "Window",
    "__version__",
    "backfill",
    "bootstrap",
    "cost_report",
    "export",
    "new_run",
    "parse_window",
    "replay",
    "status",
    "survey",
    "sync",
    "sync_all",
]

# The module of each name, and its name there if that differs.
_HOMES = {
    "Batch": "batch",
    "BatchPlan": "pipeline.request",
    "BatchResult": "result",
    "Bootstrapped": "database.bootstrap",
    "CancelToken": "cancel",
    "Cancelled": "cancel",
    "Capabilities": "extract.capabilities",
    "Contact": "pipeline.fleet",
    "ContentError": "errors",
    "CostGap": "insight.cost:Gap",
    "CostLine": "insight.cost_lines:Line",
    "CostReport": "insight.cost",
    "CostRequest": "insight.cost_request",
    "DatasetStatus": "coverage.status",
    "Deadlines": "kusto.client",
    "Difference": "database.compare",
    "Dimension": "insight.dimensions",
    "Doors": "extract.doors",
    "DuplicateError": "errors",
    "EmptyError": "errors",
    "Failure": "coverage.status",
    "Gaps": "coverage.gaps",
    "Identity": "pipeline.identity",
    "Kusto": "insight.database",
    "KustoError": "errors",
    "LoadPolicy": "load.policy",
    "NotLandedError": "errors",
    "Note": "extract.dictionaries",
    "OpenCost": "extract.client",
    "OpenCostError": "errors",
    "OpenCostKustoError": "errors",
    "Outcome": "result",
    "PartialError": "errors",
    "Queries": "insight.cost_request",
    "ReasonCode": "errors",
    "Refused": "database.bootstrap",
    "Report": "result",
    "RequestOptions": "batch",
    "Run": "batch",
    "Source": "batch",
    "SourceSettings": "batch",
    "Survey": "coverage.backfill",
    "SyncRequest": "pipeline.request",
    "Table": "schema.columns",
    "Target": "coverage.gaps",
    "Uploaded": "kusto.storage",
    "UsageError": "errors",
    "Window": "window",
    "backfill": "coverage.backfill",
    "bootstrap": "database.bootstrap",
    "cost_report": "insight.cost",
    "export": "pipeline.export",
    "new_run": "pipeline.request",
    "parse_window": "window:parse",
    "replay": "pipeline.replay",
    "status": "coverage.status",
    "survey": "coverage.backfill",
    "sync": "pipeline.sync",
    "sync_all": "pipeline.fleet",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a name of the package where it is used first: the command line needs few of them."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, own_name = _HOMES[name].partition(":")
        found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), own_name or name)
        return found
