"""How clusters stand: the worst first, a line for each, and what makes `status` fail."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opencost_kusto.cli.status import fleet_document
from opencost_kusto.cli.status_command import AlertOptions, check
from opencost_kusto.config import ClusterConfig, Config
from opencost_kusto.coverage.standing import ALERTS, Standing, standings
from opencost_kusto.coverage.status import DatasetStatus, Failure
from opencost_kusto.errors import NotLandedError, UsageError
from opencost_kusto.window import Window

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GAP = [Window(NOW - 5 * HOUR, NOW - 4 * HOUR)]
WRONG: dict[Standing, dict[str, Any]] = {
    Standing.DAMAGED: {"damaged": GAP},
    Standing.LOST: {"lost": GAP},
    Standing.FAILED: {"failures": [Failure(GAP[0], "failed", "no such host", 1)]},
    Standing.MISSING: {"missing": GAP},
    Standing.STALE: {"until": NOW - 9 * HOUR},
}


def dataset(cluster: str, name: str = "allocation", **facts: Any) -> DatasetStatus:
    """A dataset that landed up to an hour ago, or what is different about it."""
    return replace(DatasetStatus(cluster, name, NOW - HOUR, 2, 16, 16, 1.5), **facts)


# A cluster for each kind of trouble, one without, one that is retired and lacks a day, and its second dataset is fine.
FLEET = [
    *(dataset(f"c-{kind}", **facts) for kind, facts in WRONG.items()),
    *(dataset(f"c-{kind}", "assets") for kind in WRONG),
    dataset("good"),
    dataset("old", missing=GAP, lost=GAP, until=NOW - 900 * HOUR),
]
RETIRED = {"old"}


def clusters(**more: Any) -> list[Any]:
    """The fleet, with a limit of three hours."""
    return standings(FLEET, NOW, **{"max_age": 3 * HOUR, "retired": RETIRED, **more})


def test_the_worst_is_first_and_the_retired_is_never_red() -> None:
    """By trouble, then by name; a retired cluster is the last line, whatever it lacks."""
    found = clusters(expected=["good", "new"])
    assert [(one.cluster, one.standing) for one in found] == [
        ("c-damaged", Standing.DAMAGED),
        ("c-lost", Standing.LOST),
        ("c-failed", Standing.FAILED),
        ("c-missing", Standing.MISSING),
        ("c-stale", Standing.STALE),
        ("new", Standing.NEVER),
        ("good", Standing.OK),
        ("old", Standing.RETIRED),
    ]


@pytest.mark.parametrize(
    ("currencies", "heading", "cells"),
    [
        (("EUR", "EUR"), "Cost, last day (EUR)", ["1.50", "1.50"]),
        ((None, None), "Cost, last day", ["1.50", "1.50"]),
        (("EUR", "USD"), "Currency", ["EUR", "USD"]),
        (("EUR", None), "Currency", ["EUR", ""]),
    ],
)
def test_costs_have_their_currency(currencies: Sequence[str | None], heading: str, cells: list[str]) -> None:
    """One currency of all clusters is in the heading of the cost; else each line has its own."""
    fleet = [dataset(f"c{at}", currency=currency) for at, currency in enumerate(currencies)]
    (table,) = fleet_document(standings(fleet, NOW), NOW).tables
    shown = table.readable()
    assert shown.columns[-1].name == heading
    assert [row[-1] for row in shown.cells()] == cells


def test_each_cluster_has_one_line() -> None:
    """The oldest of its datasets counts; below stands what is wrong, but nothing of the retired."""
    document = fleet_document(clusters(expected=["new"]), NOW)
    (table,) = document.tables
    cells = {row[0]: row for row in table.cells()}
    assert len(cells) == 8
    assert cells["c-stale"][1:4] == ["stale", "2026-11-29T03:00:00Z", "9h 0m"]
    assert cells["c-missing"][4:8] == ["1", "0", "0", "0"]
    assert cells["new"][1:4] == ["never landed", "", ""]
    assert document.lines[-1] == "never landed: new"
    assert not [line for line in document.lines if "old" in line]
    assert len(fleet_document(clusters(), NOW, every_dataset=True).tables) == 2
    facts = document.json
    assert isinstance(facts, list)
    assert facts[0]["status"] == "damaged"
    assert facts[0]["datasets"][0]["dataset"] == "allocation"


@pytest.mark.parametrize("kind", ALERTS)
def test_each_word_of_fail_on_fails_for_its_cluster_alone(kind: Standing) -> None:
    """The message names the cluster; without the word, and without that cluster, all is well."""
    alert = AlertOptions(fail_on=[kind.value], max_age="3h" if kind is Standing.STALE else None)
    with pytest.raises(NotLandedError) as refused:
        check(clusters(), alert, alert.alerts(), NOW)
    assert f"c-{kind}" in str(refused.value)
    assert refused.value.exit_code == 6
    assert "old" not in str(refused.value)
    check([one for one in clusters() if one.cluster != f"c-{kind}"], AlertOptions(fail_on=[kind.value]), [kind], NOW)
    check(clusters(), AlertOptions(), [], NOW)


@pytest.mark.parametrize(
    ("names", "landed", "message"),
    [
        (["old"], True, None),
        ([], True, None),
        ([], False, "^Older than 3h: everything"),
        (["new"], True, "^Older than 3h: new"),
        (["good", "new", "old"], True, None),
    ],
)
def test_age_is_of_clusters_that_are_loaded(names: list[str], landed: bool, message: str | None) -> None:
    """Neither a retired cluster nor a replica without clusters is too old; an empty database is."""
    found = [one for one in clusters(expected=["new"]) if one.cluster in names]
    with nullcontext() if message is None else pytest.raises(NotLandedError, match=message):
        check(found, AlertOptions(max_age="3h"), [], NOW, landed=landed)


def test_every_failure_is_in_the_message() -> None:
    """What is too old does not hide what is missing."""
    alert = AlertOptions(max_age="3h", fail_on=["missing"])
    with pytest.raises(NotLandedError, match=r"Older than 3h: allocation of c-stale\. .* missing: c-missing\. "):
        check(clusters(), alert, alert.alerts(), NOW)


def test_clusters_that_never_landed_are_expected() -> None:
    """--expect names configured clusters without anything in Kusto."""
    with pytest.raises(NotLandedError, match="never landed: new"):
        check(clusters(expected=["good", "new"]), AlertOptions(expect=True), [], NOW)
    check(clusters(expected=["good"]), AlertOptions(expect=True), [], NOW)


def test_clusters_are_selected_by_name() -> None:
    """One of them does not fail because of another."""
    alert = AlertOptions(cluster=["good"], max_age="3h", fail_on=["missing,lost,failed,damaged,stale"])
    assert alert.alerts() == list(ALERTS)
    chosen = alert.selected(clusters())
    assert [one.cluster for one in chosen] == ["good"]
    check(chosen, alert, alert.alerts(), NOW)
    with pytest.raises(UsageError, match="There is no cluster 'nope'; there are c-damaged"):
        AlertOptions(cluster=["nope"]).selected(clusters())


def test_a_cluster_of_the_file_is_named_though_nothing_of_it_landed() -> None:
    """--cluster shows one that never landed, or is retired, and fails for neither without --expect."""
    file = Config(clusters=tuple(ClusterConfig(name, "http://h", "c.toml", name == "old") for name in ("new", "old")))
    assert AlertOptions().expected(file) == []
    assert AlertOptions(expect=True).expected(file) == ["new"]
    alert = AlertOptions(cluster=["new", "old"])
    found = standings([], NOW, expected=alert.expected(file), retired={"old"})
    chosen = alert.selected(found)
    assert [(one.cluster, one.standing) for one in chosen] == [("new", Standing.NEVER), ("old", Standing.RETIRED)]
    check(chosen, alert, [], NOW)


def test_the_clusters_of_a_replica_are_selected() -> None:
    """Each cluster is in the status of one replica."""
    found = [[one.cluster for one in AlertOptions(shard=f"{index}/3").selected(clusters())] for index in range(3)]
    assert sorted(name for names in found for name in names) == sorted(one.cluster for one in clusters())


@pytest.mark.parametrize(
    ("arguments", "message"), [(["lots"], "--fail-on 'lots' is unknown"), (["stale"], "stale needs --max-age")]
)
def test_an_unknown_standing_is_refused(arguments: list[str], message: str) -> None:
    """The message lists those that exist."""
    with pytest.raises(UsageError, match=message):
        AlertOptions(fail_on=arguments).alerts()
