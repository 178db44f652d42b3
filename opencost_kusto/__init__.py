"""Load OpenCost's costs into Azure Data Explorer: each window exactly once, complete, and verified.

`sync` is the pipeline; `OpenCost` and `Kusto` are its source and its target. Importing the package imports no Azure
package.
"""

from __future__ import annotations

from opencost_kusto.batch import RequestOptions, Run, Source
from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.status import status
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.errors import (
    ContentError,
    DuplicateError,
    KustoError,
    NotLandedError,
    OpenCostError,
    OpenCostKustoError,
    PartialError,
    UsageError,
)
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.pipeline.export import export
from opencost_kusto.pipeline.fleet import sync_all
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Outcome, Report
from opencost_kusto.version import __version__
from opencost_kusto.window import Window
from opencost_kusto.window import parse as parse_window

__all__ = [
    "BatchResult",
    "ContentError",
    "Deadlines",
    "DuplicateError",
    "Kusto",
    "KustoError",
    "NotLandedError",
    "OpenCost",
    "OpenCostError",
    "OpenCostKustoError",
    "Outcome",
    "PartialError",
    "Report",
    "RequestOptions",
    "Run",
    "Source",
    "SyncRequest",
    "Target",
    "UsageError",
    "Window",
    "__version__",
    "backfill",
    "bootstrap",
    "export",
    "new_run",
    "parse_window",
    "replay",
    "status",
    "survey",
    "sync",
    "sync_all",
]
