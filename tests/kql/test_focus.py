"""OpenCostFocus: FOCUS 1.2's columns, types, null rules and allowed values, and the money.

The rules are those of the FinOps Foundation's focus-validator 2.2.1 (its model 1.2.0.1), run on 2026-11-24 over these
rows. What it misses are columns that do not apply here: CommitmentDiscountStatus, which its rule on ConsumedQuantity
reads, PricingCurrency and its kin, and the number of an invoice that nobody issued. It is too heavy for a test.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from tests.kql import recorded
from tests.kql.database import Database
from tests.kql.test_cost import DAY
from tests.kql.test_idle import idle_by_node
from tests.support.kql_analyser import Analyser, Schema
from tests.support.recordings import recording

TYPES = {
    "string": "AvailabilityZone BillingAccountId BillingAccountName BillingCurrency ChargeCategory ChargeClass"
    " ChargeDescription ChargeFrequency ConsumedUnit InvoiceId InvoiceIssuerName PricingCategory PricingUnit"
    " ProviderName PublisherName RegionId RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName"
    " ServiceSubcategory SkuId SkuMeter SkuPriceId SubAccountId SubAccountName",
    "real": "BilledCost ConsumedQuantity ContractedCost ContractedUnitPrice EffectiveCost ListCost ListUnitPrice"
    " PricingQuantity",
    "datetime": "BillingPeriodEnd BillingPeriodStart ChargePeriodEnd ChargePeriodStart",
    "dynamic": "SkuPriceDetails Tags",
}
# Of a Usage charge that is no correction these must not be null, by the specification's columns.
NOT_NULL = (
    "BilledCost BillingAccountId BillingCurrency BillingPeriodEnd BillingPeriodStart ChargeCategory ChargePeriodEnd"
    " ChargePeriodStart ConsumedQuantity ConsumedUnit ContractedCost EffectiveCost InvoiceIssuerName ListCost"
    " PricingCategory PricingQuantity PricingUnit ProviderName PublisherName ServiceCategory ServiceName"
    " ServiceSubcategory SkuId SkuPriceId ResourceId ResourceName ResourceType"
)
# A service has one category and one subcategory.
SERVICES = {
    "Kubernetes Containers": ("Compute", "Containers"),
    "Kubernetes Volumes": ("Storage", "Block Storage"),
    "Kubernetes Load Balancers": ("Networking", "Application Networking"),
    "Kubernetes Network": ("Networking", "Network Connectivity"),
}
METERS = {
    "CPU": "cpuCost",
    "Memory": "ramCost",
    "GPU": "gpuCost",
    "Volume": "pvCost",
    "Load Balancer": "loadBalancerCost",
    "Network": "networkCost",
}


@pytest.fixture(scope="module")
def charges(day: Database) -> list[dict[str, Any]]:
    """The recorded day as FOCUS rows."""
    return day.rows(f"OpenCostFocus({DAY})")


def test_columns_have_the_names_and_types_of_the_specification(analyser: Analyser, schema: Schema) -> None:
    """Decimals are real, JSON is dynamic, and what is not FOCUS's begins with x_."""
    columns = dict(analyser.result_columns(f"OpenCostFocus({DAY})", schema=schema))
    focus = {name: kind for name, kind in columns.items() if not name.startswith("x_")}
    assert focus == {name: kind for kind, names in TYPES.items() for name in names.split()}


def test_what_must_not_be_null_is_not(charges: list[dict[str, Any]]) -> None:
    """Every mandatory value is there in every row; nothing is a correction or on an invoice; an account has a name."""
    for name in NOT_NULL.split():
        assert all(row[name] not in (None, "") for row in charges), name
    assert not any(row["ChargeClass"] or row["InvoiceId"] for row in charges)
    assert {(bool(row["SubAccountId"]), bool(row["SubAccountName"])) for row in charges} == {(True, True)}


def test_values_are_among_those_allowed(charges: list[dict[str, Any]]) -> None:
    """Categories, currency and units are written as the specification lists them."""
    assert {row["ChargeCategory"] for row in charges} == {"Usage"}
    assert {row["ChargeFrequency"] for row in charges} == {"Usage-Based"}
    assert {row["PricingCategory"] for row in charges} == {"Standard", "Dynamic"}
    services = {(row["ServiceName"], (row["ServiceCategory"], row["ServiceSubcategory"])) for row in charges}
    assert services == set(SERVICES.items())
    assert {row["BillingCurrency"] for row in charges} == {"USD"}
    assert {row["PricingUnit"] for row in charges} == {"Core-Hours", "GiB-Hours", "GPU-Hours", "Hours", "GiB"}


def test_quantity_times_price_is_cost_and_spot_is_dynamic(charges: list[dict[str, Any]]) -> None:
    """Each cost is its quantity times its unit price; machines on spot are priced dynamically, all else is not."""
    for row in charges:
        assert row["PricingQuantity"] * row["ListUnitPrice"] == pytest.approx(row["ListCost"])
        assert row["PricingQuantity"] * row["ContractedUnitPrice"] == pytest.approx(row["ContractedCost"])
        spot = "aks-spot" in (row["x_Node"] or "") and row["ServiceCategory"] == "Compute"
        assert row["PricingCategory"] == ("Dynamic" if spot else "Standard")
        assert row["ConsumedQuantity"] == row["PricingQuantity"]


def test_the_money_is_opencosts_and_nothing_is_billed(charges: list[dict[str, Any]]) -> None:
    """Each meter is the sum of OpenCost's cost for it, idle is the nodes', and a union leaves invoices as they are."""
    work = [row for row in charges if row["x_Namespace"] != "__idle__"]
    found = recorded.summed(work, lambda row: row["SkuMeter"], "EffectiveCost")
    assert found == pytest.approx(
        {meter: recorded.total(recorded.workloads(), field) for meter, field in METERS.items()}
    )
    idle = recorded.summed(
        (row for row in charges if row["x_Namespace"] == "__idle__"), lambda row: row["x_Node"], "EffectiveCost"
    )
    assert idle == pytest.approx(idle_by_node(), abs=1e-4)
    assert {row["BilledCost"] for row in charges} == {0.0}
    assert all(row["EffectiveCost"] == row["ListCost"] == row["ContractedCost"] for row in charges)


def test_periods_are_half_open_and_lie_in_their_month(charges: list[dict[str, Any]]) -> None:
    """Workloads are charged by window, idle by day, in the billing month the charge begins in."""
    month = {(row["BillingPeriodStart"], row["BillingPeriodEnd"]) for row in charges}
    assert month == {(datetime(2026, 11, 1), datetime(2026, 12, 1))}
    hours = {(row["ChargePeriodEnd"] - row["ChargePeriodStart"]).total_seconds() / 3600 for row in charges}
    assert hours == {1.0, 24.0}
    assert all(row["ChargePeriodStart"].hour == 0 for row in charges if row["x_Namespace"] == "__idle__")


def test_rows_say_where_they_are_from(charges: list[dict[str, Any]]) -> None:
    """Region, zone, cloud account and resource come from the assets; labels are the tags."""
    row = next(row for row in charges if row["ResourceName"] == "trainer-6fcb8f86c8-wjj2q" and row["SkuMeter"] == "GPU")
    assert (row["RegionId"], row["ProviderName"], row["SkuId"]) == ("westeurope", "Azure", "Standard_NC4as_T4_v3/GPU")
    assert row["SubAccountId"] == "8f3a1c52-6b0e-4d7a-9c41-2e5d7b90a6f1"
    assert '"team":"data-science"' in row["Tags"]
    assert json.loads(row["SkuPriceDetails"]) == {"InstanceType": "Standard_NC4as_T4_v3"}
    assert len({(row["SkuPriceId"], row["SkuPriceDetails"]) for row in charges}) == len(
        {row["SkuPriceId"] for row in charges}
    )
    unmounted = {row["ResourceType"] for row in charges if row["x_Container"] == "__unmounted__"}
    assert unmounted == {"Persistent Volume"}


def test_without_assets_nothing_is_null_that_must_not_be(empty: Database) -> None:
    """A cluster that synced allocation only has charges, by a provider named Kubernetes."""
    empty.allocation(recording("1.112", "allocation_hour.json"))
    rows = empty.rows(f"OpenCostFocus({DAY})")
    cost = sum(recorded.total(recorded.allocation_hours()[10], field) for field in METERS.values())
    assert sum(row["EffectiveCost"] for row in rows) == pytest.approx(cost)
    for name in NOT_NULL.split():
        assert all(row[name] not in (None, "") for row in rows), name
    assert {row["ProviderName"] for row in rows} == {"Kubernetes"}
