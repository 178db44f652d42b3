"""The few values that are derived rather than copied. Each takes the origin and the values of its column's keys."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from opencost_kusto.batch import BatchContext
from opencost_kusto.schema.columns import Json


def moment(_: BatchContext, text: str | None) -> datetime | None:
    """A time in UTC; OpenCost writes an unset one as the string `null`."""
    return _moment(text)


@lru_cache(maxsize=4096)
def _moment(text: str | None) -> datetime | None:
    if text is None or text == "null":
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time") from None
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return value.astimezone(UTC)


def seconds_to_moment(_: BatchContext, seconds: float | None) -> datetime | None:
    """Unix seconds as a time in UTC."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OSError, OverflowError) as error:
        raise ValueError(f"{seconds:g} is not a time") from error


def first_of(_: BatchContext, older: float | None, newer: float | None) -> float | None:
    """The value of whichever key this version of OpenCost sends."""
    return older if older is not None else newer


def flag(_: BatchContext, number: float | None) -> bool | None:
    """OpenCost's 1.0 and 0.0 as true and false."""
    return None if number is None else number != 0


def cost_less_adjustment(_: BatchContext, total: float | None, adjustment: float | None) -> float | None:
    """The cost before adjustment; an asset type without adjustment has none to take off."""
    return None if total is None else total - (adjustment or 0.0)


def region_or_cluster_region(origin: BatchContext, topology: str | None, beta: str | None) -> str | None:
    """The region label of a node, else the region of the cluster."""
    return topology or beta or origin.source.region


def asset_name(origin: BatchContext, kind: Json, name: str | None) -> str:
    """A name for an asset that is unique among clusters: cluster, type and name."""
    return f"{origin.source.name}/{kind or ''}/{name or ''}"
