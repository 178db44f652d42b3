"""The computed OpenCost loaded by this program: what it sends passes every check and lands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.batch import RequestOptions
from opencost_kusto.database import script
from opencost_kusto.emulator import CLUSTERS, VERSIONS, Emulator
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.window import Window

NOW = datetime(2026, 11, 24, 5, 46, 27, tzinfo=UTC)
MARKS = Window(datetime(2026, 11, 24, 5, 35, tzinfo=UTC), datetime(2026, 11, 24, 5, 45, tzinfo=UTC))


@pytest.fixture(scope="module", params=VERSIONS)
def emulated(request: pytest.FixtureRequest) -> Iterator[tuple[Emulator, Kusto]]:
    """Both clusters as each version, and Kusto with our tables."""
    with (
        Emulator(version=request.param, clock=lambda: NOW, latency=0.02) as emulator,
        Kusto(emulator.kusto_url, emulator.database, auth="none") as kusto,
    ):
        for command in script.commands("tables"):
            kusto.command(command.text)
        yield emulator, kusto


@pytest.mark.parametrize(
    "options",
    [RequestOptions(), RequestOptions(aggregate="label:app", include_idle=True), RequestOptions(aggregate="node")],
    ids=["containers", "label", "node"],
)
def test_every_dataset_of_both_clusters_lands(emulated: tuple[Emulator, Kusto], options: RequestOptions) -> None:
    """Ten minutes on the marks end with a cost, in every version, by container, by label with idle, and by node."""
    emulator, kusto = emulated
    for at, cluster in enumerate(CLUSTERS):
        with OpenCost(emulator.opencosts[at].url) as opencost:
            report = sync(opencost, kusto, SyncRequest(MARKS, options=options), run=new_run("live"))
        assert report.exit_code == 0, report
        costs = {one.dataset: one.cost for one in report.results if one.source == cluster}
        assert (costs["allocation"] or 0) > 0.01
        assert (costs["assets"] or 0) > 0.08


def test_days_by_hour_land(emulated: tuple[Emulator, Kusto]) -> None:
    """Two days by the hour: all land but the hour without data, which is empty."""
    emulator, kusto = emulated
    end = datetime(2026, 11, 23, tzinfo=UTC)
    request = SyncRequest(Window(end - timedelta(days=1), end), timedelta(hours=1), datasets=("allocation", "assets"))
    with OpenCost(emulator.opencost_url) as opencost:
        report = sync(opencost, kusto, request, run=new_run("days"))
    assert report.exit_code == 0
    assert report.counts["empty"] == 2
    assert [one.window_start.hour for one in report.results if one.outcome == "empty"] == [3, 3]
