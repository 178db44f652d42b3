"""What a run requests: datasets that exist, in windows that OpenCost has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.batch import Source
from opencost_kusto.emulator import OpenCostEmulator
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.export import export
from opencost_kusto.pipeline.request import SyncRequest, check_datasets, new_run
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS
from opencost_kusto.window import Window

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


def test_the_default_datasets_are_requested() -> None:
    """A request that names no dataset has a batch for each default one, and for no other."""
    batches = list(SyncRequest(Window(MIDNIGHT, MIDNIGHT + HOUR)).batches(Source("prod"), MIDNIGHT + DAY))
    assert [batch.table.dataset for batch in batches] == list(DEFAULT_DATASETS)


def test_a_dataset_that_does_not_exist_is_refused() -> None:
    """An unknown dataset is refused with the list of datasets."""
    with pytest.raises(UsageError, match="There is no dataset 'costs'; there are allocation, "):
        SyncRequest(Window(MIDNIGHT, MIDNIGHT + HOUR), datasets=("costs",))


@pytest.mark.parametrize("name", [name for name, table in DATASETS.items() if table.step is None])
def test_most_datasets_have_any_window(name: str) -> None:
    """Windows of every length are requested of a dataset without a step of its own."""
    check_datasets((name,), {timedelta(minutes=5), HOUR, DAY, 3 * DAY})


@pytest.mark.parametrize("name", [name for name, table in DATASETS.items() if table.step is not None])
def test_a_dataset_with_a_step_of_its_own_has_no_other(name: str) -> None:
    """Where OpenCost has a dataset by the day only, any other window is refused with the step to use."""
    step = DATASETS[name].step or DAY
    check_datasets((name,), {step})
    for lengths in ({HOUR}, {step, HOUR}, {2 * step}):
        with pytest.raises(UsageError, match=f"{name} by 24 hours only: .*--step 24h"):
            check_datasets((name,), lengths)


@pytest.mark.parametrize(("optional", "outcome", "code"), [(True, "unsupported", 0), (False, "failed", 3)])
def test_a_dry_run_may_omit_an_optional_dataset(optional: bool, outcome: str, code: int) -> None:
    """Where a server has no route for a dataset, a dry run fails only if the dataset was named."""
    name = next(name for name, table in DATASETS.items() if not table.default)
    window = Window(MIDNIGHT, MIDNIGHT + DAY)
    request = SyncRequest(window, datasets=(name,), optional=frozenset({name} if optional else ()))
    with OpenCostEmulator() as server, OpenCost(server.url) as opencost:
        report = export(opencost, request, lambda _table, _line: None)
    assert ([one.outcome for one in report.results], report.exit_code) == ([outcome], code)


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"team": " shop\r\n"}, {"team": "shop"}),
        ({" team\t": "cafe\u0301"}, {"team": "café"}),
        ({"note": 'it is "quoted", $(and) open'}, {"note": 'it is "quoted", $(and) open'}),
        ({"empty": ""}, {"empty": ""}),
    ],
)
def test_a_value_of_metadata_has_one_spelling(metadata: dict[str, str], found: dict[str, str]) -> None:
    """A value is any text, without blanks around it and in NFC, so that equal ones are found as equal."""
    assert new_run(metadata=metadata).metadata == found


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"$(KEY)": "a"}, "A key of --metadata .* is a variable"),
        ({"a\x1b": "a"}, "A key of --metadata .*control character"),
        ({"'a'": "a"}, "A key of --metadata .*quotes"),
        ({7: "a"}, "A key of --metadata .*is not a text but 7"),
        ({"a": 7}, "The value of a in --metadata .*is not a text but 7"),
        ({"a": "1", "a ": "2"}, "names 'a' twice"),
    ],
)
def test_metadata_that_is_an_accident_is_refused(metadata: dict[str, str], message: str) -> None:
    """Keys are names, also where a program gives them."""
    with pytest.raises(UsageError, match=message):
        new_run(metadata=metadata)
