"""The shipped Prometheus alerts, evaluated over scrapes of /metrics in recorded states."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import opencost_kusto.deploy
from opencost_kusto.batch import Batch
from opencost_kusto.errors import KustoError
from opencost_kusto.result import Outcome, Report, batch_result
from opencost_kusto.schedule.health import Health
from opencost_kusto.schedule.loop import TickResult
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window
from tests.support.documents import GUIDES

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
Labels: TypeAlias = "frozenset[tuple[str, str]]"
Scrape: TypeAlias = "dict[tuple[str, Labels], float]"


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """The rules of the chart's file, by name."""
    path = Path(next(iter(opencost_kusto.deploy.__path__))) / "chart" / "files" / "alerts.yaml"
    (group,) = yaml.safe_load(path.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


class Process:
    """A scheduler's metrics, by a clock that a test sets, and a scrape an hour before the last one."""

    def __init__(self) -> None:
        self.now = NOON
        self.health = Health(3 * HOUR, clock=lambda: self.now)
        self.before: Scrape = {}

    def tick(self, *outcomes: Outcome, until: datetime, good: bool = True) -> None:
        """A run: the outcome of each of its batches of the hour that ends at a time, and its own."""
        batch = Batch(ALLOCATION, "prod", Window(until - HOUR, until))
        for outcome in outcomes:
            self.health.count(batch_result(batch, outcome))
        self.health.ticked(
            TickResult(self.now, 1.0, Report("r")) if good else TickResult(self.now, 1.0, error=KustoError(""))
        )

    def later(self, time: timedelta) -> None:
        """Let time pass; the scrape of an hour before then is kept."""
        self.before = self.scrape()
        self.now += time

    def scrape(self) -> Scrape:
        """All samples of /metrics."""
        text = self.health.response("/metrics")[2].decode()
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return {(one.name, frozenset(one.labels.items())): one.value for one in samples}

    def firing(self) -> set[str]:
        """The names of the alerts whose expressions have a result."""
        return {
            name for name, rule in alerts().items() if evaluated(rule["expr"], self.scrape(), self.before, self.now)
        }


def evaluated(expression: str, now: Scrape, before: Scrape, time: datetime) -> list[Labels]:
    """The series for which an expression is true: the part of PromQL that the rules are written in.

    As in Prometheus, a counter that was not there before has not increased.
    """
    found = re.fullmatch(r"(?P<left>.+?) > (?P<limit>[\d *]+)", expression)
    assert found, expression
    limit = 1.0
    for factor in found["limit"].split("*"):
        limit *= float(factor)
    if age := re.fullmatch(r"time\(\) - (\w+)", found["left"]):
        values = {labels: time.timestamp() - value for (name, labels), value in now.items() if name == age[1]}
    elif rate := re.fullmatch(r'increase\((\w+)\{(\w+)=~"([^"]+)"\}\[1h\]\)', found["left"]):
        chosen = {
            key: value
            for key, value in now.items()
            if key[0] == rate[1] and re.fullmatch(rate[3], dict(key[1])[rate[2]])
        }
        values = {key[1]: value - before.get(key, value) for key, value in chosen.items()}
    else:
        assert re.fullmatch(r"\w+", found["left"]), expression
        values = {labels: value for (name, labels), value in now.items() if name == found["left"]}
    return [labels for labels, value in values.items() if value > limit]


@pytest.fixture
def process() -> Process:
    """A scheduler whose first run landed the last hour."""
    made = Process()
    made.tick(Outcome.LANDED, until=NOON)
    return made


def test_a_scheduler_that_works_is_quiet(process: Process) -> None:
    """Hour after hour lands: nothing fires."""
    process.later(HOUR)
    process.tick(Outcome.LANDED, Outcome.ALREADY_LANDED, Outcome.EMPTY, until=process.now)
    assert process.firing() == set()


def test_runs_that_fail_for_hours_fire(process: Process) -> None:
    """Three hours without a good run, whatever the bad ones said."""
    process.later(2 * HOUR)
    process.tick(until=NOON, good=False)
    assert process.firing() == set()
    process.later(HOUR + timedelta(minutes=1))
    process.tick(until=NOON, good=False)
    assert process.firing() == {"OpenCostKustoRunsFail"}
    assert "OpenCostKustoRunsFail" in Process().firing()


def test_old_data_fires_though_runs_are_good(process: Process) -> None:
    """Nothing lands for six hours: the runs end well, and find nothing."""
    process.later(6 * HOUR + timedelta(minutes=1))
    process.tick(until=NOON)
    assert process.firing() == {"OpenCostKustoLate"}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST])
def test_a_batch_that_fails_fires_for_an_hour(process: Process, outcome: Outcome) -> None:
    """Also for the very first failure: the series exists before, with zero."""
    process.later(HOUR)
    process.tick(outcome, until=process.now)
    process.tick(Outcome.LANDED, until=process.now)
    assert process.firing() == {"OpenCostKustoBatchesFail"}
    process.later(HOUR)
    process.tick(Outcome.LANDED, until=process.now)
    assert process.firing() == set()


def test_the_first_failure_of_a_dataset_fires() -> None:
    """A dataset of which a run found the windows covered has its series before anything of it fails."""
    process = Process()
    process.health.covered_until("prod", "allocation", NOON)
    process.later(HOUR)
    process.tick(Outcome.FAILED, until=process.now)
    assert "OpenCostKustoBatchesFail" in process.firing()


def test_rules_name_metrics_and_labels_that_exist(process: Process) -> None:
    """Each name in an expression is a series of /metrics, and each label in a sentence one of it."""
    series = process.scrape()
    labels: dict[str, set[str]] = {}
    for name, found in series:
        labels.setdefault(name, set()).update(dict(found))
    for name, rule in alerts().items():
        (metric,) = re.findall(r"opencost_kusto_\w+", rule["expr"])
        assert metric in labels, name
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels[metric], name
        assert f"`{name}`" in GUIDES["operations"]
