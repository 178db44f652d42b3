"""Load OpenCost's costs into Azure Data Explorer: each window exactly once, complete, and verified.

`sync` is the pipeline; `OpenCost` and `Kusto` are its source and its target. `OpenCost.allocation` and `.assets` read
what OpenCost has, `Kusto.cost` what the database has. Importing the package imports no Azure package.
"""

from __future__ import annotations

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
from opencost_kusto.pipeline.fleet import sync_all
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.pipeline.request import BatchPlan, SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Outcome, Report
from opencost_kusto.schema.columns import Table
from opencost_kusto.version import __version__
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
