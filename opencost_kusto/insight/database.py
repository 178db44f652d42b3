"""The Kusto database for users of the library: to load into, to query, and to read costs from."""

from __future__ import annotations

from collections.abc import Sequence

from opencost_kusto.insight.cost import cost_report
from opencost_kusto.insight.cost_document import cost_rows
from opencost_kusto.insight.cost_request import CostRequest, window_of
from opencost_kusto.kusto import client
from opencost_kusto.schema.columns import Json
from opencost_kusto.window import Window


class Kusto(client.Kusto):
    """A database to load into, to query, and to read costs from.

    `uri` is the engine's address (`https://<cluster>.<region>.kusto.windows.net`, or a Fabric Eventhouse's query
    URI), `database` its name, `auth` the way to sign in. Raises UsageError for invalid values. Safe to use from
    several threads; close it, or use it as a context.
    """

    def cost(
        self,
        by: str = "namespace",
        window: Window | str = "7d",
        *,
        cluster: str | Sequence[str] = "",
        idle: bool = False,
    ) -> list[dict[str, Json]]:
        """What something cost in a window: a dictionary for each line, the most expensive first.

        `by` is `namespace`, `cluster`, `controller`, `node`, `label:NAME`, `team`, `day`, `type` or `run`; `window` a
        Window, or text such as `7d`, `yesterday` or `2026-11-01,2026-11-15`. `cluster` is one name or several, ""
        for all; with `idle`, idle cost too. Each line has Cluster, the columns of `by` (`Namespace`), TotalCost,
        Share (0 to 1) and Currency, "" where it is not set. Amounts of two currencies must not be added. Raises
        UsageError for what the functions do not support, and KustoError. `cost_report` also has what is missing of the
        window.
        """
        names = (cluster,) if isinstance(cluster, str) else cluster
        return cost_rows(cost_report(self, CostRequest(window_of(window), by, tuple(filter(None, names)), idle)))
