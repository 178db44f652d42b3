"""Load OpenCost's costs into Azure Data Explorer: each window exactly once, complete, and verified.

`sync` is the pipeline; `OpenCost` and `Kusto` are its source and its target. Importing the package imports no Azure
package.
"""

from __future__ import annotations

from opencost_kusto.batch import RequestOptions, Run, Source
from opencost_kusto.cancel import Cancelled, CancelToken
from opencost_kusto.coverage.backfill import Survey, backfill, survey
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.status import DatasetStatus, status
from opencost_kusto.database.bootstrap import Bootstrapped, bootstrap
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
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.load.policy import LoadPolicy
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
    "Bootstrapped",
    "CancelToken",
    "Cancelled",
    "ContentError",
    "DatasetStatus",
    "Deadlines",
    "DuplicateError",
    "EmptyError",
    "Kusto",
    "KustoError",
    "LoadPolicy",
    "NotLandedError",
    "OpenCost",
    "OpenCostError",
    "OpenCostKustoError",
    "Outcome",
    "PartialError",
    "ReasonCode",
    "Report",
    "RequestOptions",
    "Run",
    "Source",
    "Survey",
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
