"""OpenCostFocus: FOCUS 1.2's columns, types, null rules and allowed values, and the money.

The rules are those of the FinOps Foundation's validator 2.2.1 with its requirements model 1.2. On 2026-11-30 it was run
by hand, since it is too heavy for a test, with the criteria that apply here (account names, zones, price list, unit
prices, usage, sub accounts, resource types, currencies, regions, tags), over the recorded day, the recorded hour of
1.111, 1.112 and 1.119, and the derived rows below, each by the hour and by the day. On all of them 255 of 578 rules
pass, 322 are skipped, and one fails: InvoiceId-C-005-C wants the number of an invoice that nobody issued.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.kql import recorded
from tests.kql.conftest import load_day
from tests.kql.database import CLUSTER, COLLECTED, Database
from tests.kql.test_cost import DAY
from tests.kql.test_idle import idle_by_node
from tests.support.kql_analyser import Analyser, Schema
from tests.support.recordings import recording

TYPES = {
    "string": "AvailabilityZone BillingAccountId BillingAccountName BillingCurrency ChargeCategory ChargeClass"
    " ChargeDescription ChargeFrequency CommitmentDiscountStatus ConsumedUnit InvoiceId InvoiceIssuerName"
    " PricingCategory PricingCurrency PricingUnit ProviderName"
    " PublisherName RegionId RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName"
    " ServiceSubcategory SkuId SkuMeter SkuPriceId SubAccountId SubAccountName",
    "real": "BilledCost ConsumedQuantity ContractedCost ContractedUnitPrice EffectiveCost ListCost ListUnitPrice"
    " PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost PricingCurrencyListUnitPrice PricingQuantity",
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


Row = dict[str, Any]


def fields(row: recorded.Record, **added: float) -> None:
    """Add to the costs of a record, and to its total."""
    for name, cost in added.items():
        row[name] += cost
    row["totalCost"] += sum(added.values())


def overcommitted(row: recorded.Record) -> None:
    """Every container costs far more than its node."""
    if "type" not in row:
        fields(row, cpuCost=5.0, ramCost=5.0, gpuCost=5.0)


def free(row: recorded.Record) -> None:
    """Nodes have no price, but pods do."""
    if row.get("type") == "Node":
        fields(row, **{name: -row[name] for name in ("cpuCost", "ramCost", "gpuCost")})


def gpus(row: recorded.Record) -> None:
    """Every node has GPUs, every container one."""
    if row.get("type", "Node") == "Node":
        row["gpuHours"] = 100.0 if "type" in row else 1.0
        fields(row, gpuCost=300.0 if "type" in row else 2.0)


def currency(database: Database) -> Database:
    """A cluster whose currency is set."""
    run = {"Cluster": CLUSTER, "Currency": "EUR", "CollectionTime": COLLECTED.isoformat()}
    database.insert("OpenCostSyncRuns", [{**run, "BatchId": "a scrape", "Dataset": "metrics"}])
    return database


def recorded_hour(database: Database, version: str, change: Callable[[recorded.Record], None] = lambda _: None) -> None:
    """Land the recorded hour of a version, each record changed."""
    currency(database)
    bodies = [json.loads(recording(version, name)) for name in ("allocation_hour.json", "assets_hour.json")]
    for row in (*bodies[0]["data"][0].values(), *bodies[1]["data"].values()):
        change(row)
    database.allocation(json.dumps(bodies[0]).encode())
    database.assets(json.dumps(bodies[1]).encode())


def remainder(database: Database) -> None:
    """Land a day whose 23 hours cost more CPU than it has, so that the hour that was lost has less than nothing."""
    currency(database).allocation(recording("1.112", "allocation_day.json"))
    for members in json.loads(recording("1.112", "allocation_day_step1h.json"))["data"][:23]:
        for row in members.values():
            row["cpuCost"] *= 1.1
        database.allocation(json.dumps({"data": [members]}).encode())
    for hour in range(24):
        database.assets(recording("1.112", f"assets_hours/{hour:02}.json"))


UGLY: dict[str, Callable[[Database], None]] = {
    **{f"hour {version}": partial(recorded_hour, version=version) for version in ("1.111", "1.112", "1.119")},
    **{
        change.__name__: partial(recorded_hour, version="1.112", change=change)
        for change in (overcommitted, free, gpus)
    },
    "remainder": remainder,
}


@pytest.fixture(scope="module")
def charges() -> Iterator[list[Row]]:
    """The recorded day as FOCUS rows, of a cluster whose currency is set."""
    with Database() as database:
        yield load_day(currency(database.install())).rows(f"OpenCostFocus({DAY})")


def test_a_day_by_the_day_costs_what_its_hours_cost(charges: list[Row], day: Database) -> None:
    """A large fleet requests a row per day, meter and container; no cent differs."""

    def key(row: Row) -> tuple[str, ...]:
        return row["x_Namespace"], row["ResourceName"], row["x_Container"], row["x_Node"], row["SkuMeter"]

    daily = day.rows(f'OpenCostFocus({DAY}, "", 1d)')
    assert len(daily) < len(charges) / 10
    found = recorded.summed(daily, key, "EffectiveCost")
    assert found == pytest.approx(recorded.summed(charges, key, "EffectiveCost"))
    assert {row["ChargePeriodEnd"] - row["ChargePeriodStart"] for row in daily} == {timedelta(days=1)}
    assert {row["BillingCurrency"] for row in daily} == {None}


def test_unit_prices_are_those_of_the_assets(charges: list[Row]) -> None:
    """A node's hour by its cores is the price of a core-hour; each price id has one; quantities are as measured."""
    prices = {(row["SkuPriceId"], row["ListUnitPrice"]) for row in charges}
    assert len(prices) == len({price for price, _ in prices})
    nodes = [row for row in recorded.assets() if row["type"] == "Node" and row["nodeType"] == "Standard_E4s_v5"]
    cores = sum(row["cpuCost"] * (1 - row["discount"]) for row in nodes) / recorded.total(nodes, "cpuCoreHours")
    assert dict(prices)["Standard_E4s_v5/CPU"] == pytest.approx(cores)
    measured = recorded.total(recorded.workloads(), "cpuCoreHours")
    cpu = [row for row in charges if row["SkuMeter"] == "CPU" and row["x_Namespace"] != "__idle__"]
    assert recorded.total(cpu, "ConsumedQuantity") == pytest.approx(measured, rel=1e-3)
    assert recorded.total(cpu, "PricingQuantity") == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("name", UGLY)
def test_the_validators_rules_hold(name: str, empty: Database) -> None:
    """Currencies, prices of at least 0, price times quantity, null with null, and one price id to a SKU."""
    UGLY[name](empty)
    rows = empty.rows(f"OpenCostFocus({DAY})")
    for column in NOT_NULL.split():
        assert all(row[column] not in (None, "") for row in rows), column
    for row in rows:
        assert row["BillingCurrency"] == row["PricingCurrency"] == "EUR"
        assert min(row["ListUnitPrice"], row["ContractedUnitPrice"], row["PricingCurrencyListUnitPrice"]) > 0
        assert row["ListUnitPrice"] * row["PricingQuantity"] == pytest.approx(row["ListCost"])
        assert row["ContractedUnitPrice"] * row["PricingQuantity"] == pytest.approx(row["ContractedCost"])
        assert row["PricingCurrencyEffectiveCost"] == row["EffectiveCost"]
        assert row["ConsumedUnit"] == row["PricingUnit"]
        assert not row["CommitmentDiscountStatus"]
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert (row["EffectiveCost"] < 0) == (row["x_Namespace"] in ("__overcommitted__", "__remainder__"))
    skus = {(row["SkuPriceId"], row["SkuId"]) for row in rows}
    assert len(skus) == len({price for price, _ in skus})


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("overcommitted", "__overcommitted__", True),
        ("remainder", "__remainder__", True),
        ("gpus", "__remainder__", False),
    ],
)
def test_what_is_negative_has_its_line(name: str, line: str, expected: bool, empty: Database) -> None:
    """Where workloads cost more than nodes, and what a day leaves for a lost hour; the total is that of the parts."""
    UGLY[name](empty)
    rows = empty.rows(f"OpenCostFocus({DAY})")
    assert any(row["x_Namespace"] == line for row in rows) == expected
    paid = empty.one(f"OpenCostReconcile({DAY})")
    compute = [row for row in rows if row["ServiceCategory"] == "Compute"]
    work = empty.one(
        f"OpenCostWorkloadCost({DAY}) | summarize Cost = sum(TotalCost), Compute = sum(CpuCost + RamCost + GpuCost)"
    )
    idle = paid["IdleCost"] - paid["OvercommittedCost"]
    assert recorded.total(compute, "EffectiveCost") == pytest.approx(work["Compute"] + idle, abs=1e-3)


def test_focus_1_3_splits_nodes_among_pods(day: Database) -> None:
    """The ratios of a node, meter and day add up to 1, idle included; a pod is an allocated resource of its node."""
    rows = day.rows(f'OpenCostFocus13({DAY}, "", 1d)')
    plain = day.rows(f'OpenCostFocus({DAY}, "", 1d)')
    assert recorded.total(rows, "EffectiveCost") == pytest.approx(recorded.total(plain, "EffectiveCost"))
    ratios: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row["ServiceCategory"] != "Compute":
            assert {row["AllocatedMethodId"], row["AllocatedResourceId"]} == {""}
            assert row["AllocatedMethodDetails"] is None
            continue
        (element,) = json.loads(row["AllocatedMethodDetails"])["Elements"]
        assert element["UsageUnit"] == row["ConsumedUnit"]
        ratios[row["x_Node"], row["SkuMeter"]] += element["AllocatedRatio"]
        idle = row["x_Namespace"] == "__idle__"
        assert bool(row["AllocatedResourceId"]) != idle
        assert (row["ResourceType"], row["ResourceName"], row["Tags"]) == ("Node", row["x_Node"], None)
    assert dict(ratios) == pytest.approx(dict.fromkeys(ratios, 1.0))


def test_columns_have_the_names_and_types_of_the_specification(analyser: Analyser, schema: Schema) -> None:
    """Decimals are real, JSON is dynamic, and what is not FOCUS's begins with x_."""
    columns = dict(analyser.result_columns(f"OpenCostFocus({DAY})", schema=schema))
    focus = {name: kind for name, kind in columns.items() if not name.startswith("x_")}
    assert focus == {name: kind for kind, names in TYPES.items() for name in names.split()}


def test_what_must_not_be_null_is_not(charges: list[Row]) -> None:
    """Every mandatory value is in every row; nothing is a correction or on an invoice; an account has a name."""
    for name in NOT_NULL.split():
        assert all(row[name] not in (None, "") for row in charges), name
    assert not any(row["ChargeClass"] or row["InvoiceId"] for row in charges)
    assert {(bool(row["SubAccountId"]), bool(row["SubAccountName"])) for row in charges} == {(True, True)}


def test_values_are_among_those_allowed(charges: list[Row]) -> None:
    """Categories, currency and units are written as the specification lists them."""
    assert {row["ChargeCategory"] for row in charges} == {"Usage"}
    assert {row["ChargeFrequency"] for row in charges} == {"Usage-Based"}
    assert {row["PricingCategory"] for row in charges} == {"Standard", "Dynamic"}
    services = {(row["ServiceName"], (row["ServiceCategory"], row["ServiceSubcategory"])) for row in charges}
    assert services == set(SERVICES.items())
    assert {row["BillingCurrency"] for row in charges} == {"EUR"}
    assert {row["PricingUnit"] for row in charges} == {"Core-Hours", "GiB-Hours", "GPU-Hours", "Hours", "GiB"}


def test_quantity_times_price_is_cost_and_spot_is_dynamic(charges: list[Row]) -> None:
    """Each cost is its quantity times its unit price; machines on spot are priced dynamically, all else is not."""
    for row in charges:
        assert row["PricingQuantity"] * row["ListUnitPrice"] == pytest.approx(row["ListCost"])
        assert row["PricingQuantity"] * row["ContractedUnitPrice"] == pytest.approx(row["ContractedCost"])
        spot = "aks-spot" in (row["x_Node"] or "") and row["ServiceCategory"] == "Compute"
        assert row["PricingCategory"] == ("Dynamic" if spot else "Standard")


def test_the_money_is_opencosts_and_nothing_is_billed(charges: list[Row]) -> None:
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


def test_periods_are_half_open_and_lie_in_their_month(charges: list[Row]) -> None:
    """Workloads are charged by window, idle by day, in the billing month the charge begins in."""
    month = {(row["BillingPeriodStart"], row["BillingPeriodEnd"]) for row in charges}
    assert month == {(datetime(2026, 11, 1), datetime(2026, 12, 1))}
    hours = {(row["ChargePeriodEnd"] - row["ChargePeriodStart"]).total_seconds() / 3600 for row in charges}
    assert hours == {1.0, 24.0}
    assert all(row["ChargePeriodStart"].hour == 0 for row in charges if row["x_Namespace"] == "__idle__")


def test_rows_have_their_location_and_account(charges: list[Row]) -> None:
    """Region, zone, cloud account and resource are those of the assets; labels are the tags."""
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
        assert name == "BillingCurrency" or all(row[name] not in (None, "") for row in rows), name
    assert {row["BillingCurrency"] for row in rows} == {None}
    assert {row["ProviderName"] for row in rows} == {"Kubernetes"}
