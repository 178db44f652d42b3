"""What Grafana and Power BI take: functions without parameters, and a time column first."""

from __future__ import annotations

import re

import pytest

from opencost_kusto.database.functions import functions
from tests.support.documents import GUIDES
from tests.support.kql_analyser import Analyser, Schema

TABLES = [one for one in functions() if one.name.endswith("Last30Days")]
OVER_TIME = [*(one.name for one in TABLES), "OpenCostDailyCost(ago(7d), now())", "OpenCostHourlyCost(ago(7d), now())"]


def test_the_guide_has_the_functions_for_direct_query() -> None:
    """Power BI's DirectQuery takes a table, or a function without parameters."""
    assert set(re.findall(r"^\| `(OpenCost\w+Last30Days)` \|", GUIDES["kql"], re.MULTILINE)) == {
        one.name for one in TABLES
    }
    assert all(one.parameters == () for one in TABLES)


@pytest.mark.parametrize("text", OVER_TIME)
def test_the_time_is_the_first_column(text: str, analyser: Analyser, schema: Schema) -> None:
    """Grafana takes the first column of type datetime for the time axis."""
    assert analyser.result_columns(text, schema=schema)[0] == ("Timestamp", "datetime")


@pytest.mark.parametrize("text", re.findall(r"^OpenCost.*\$__time.*$", GUIDES["kql"], re.MULTILINE))
def test_the_query_of_the_guide_is_right(text: str, analyser: Analyser, schema: Schema) -> None:
    """With the times that Grafana puts in the places of its macros."""
    text_ = text.replace("$__timeFrom", "datetime(2026-11-23)").replace("$__timeTo", "datetime(2026-11-24)")
    assert text_ != text
    assert analyser.check(text_, schema=schema) == []
