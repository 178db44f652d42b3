"""The few values that are derived rather than copied: functions of the values that a column's `Derived` names."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from opencost_kusto.names import normalized


@lru_cache(maxsize=4096)
def moment(text: str | None) -> datetime | None:
    """A time in UTC; OpenCost writes an unset one as the string `null`. Raises ValueError for what is not a time."""
    if text is None or text == "null":
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time") from None
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return value.astimezone(UTC)


def seconds_to_moment(seconds: float | None) -> datetime | None:
    """Unix seconds as a time in UTC. Raises ValueError for seconds beyond any calendar."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OSError, OverflowError) as error:
        raise ValueError(f"{seconds:g} is not a time") from error


def first_of(*values: float | None) -> float | None:
    """The first value that is not null: OpenCost moved some keys from version to version."""
    return next((value for value in values if value is not None), None)


def flag(number: float | None) -> bool | None:
    """OpenCost's 1.0 and 0.0 as true and false."""
    return None if number is None else number != 0


def cost_less_adjustment(total: float | None, adjustment: float | None) -> float | None:
    """The cost before adjustment; an asset type without adjustment has none to take off."""
    return None if total is None else total - (adjustment or 0.0)


def row_cluster(source: str, reported: str | None, every: bool, cluster: str | None) -> str:
    """The cluster of a row: that of its source, or with `every`, which keeps other clusters, its own."""
    return normalized(cluster) if every and cluster and cluster != reported else source


def region_or_cluster_region(
    region: str | None,
    reported: str | None,
    every: bool,
    cluster: str | None,
    topology: str | None,
    beta: str | None,
) -> str | None:
    """The region label of a node, else the region of the source's cluster, unless the row is of another one."""
    other = every and bool(cluster) and cluster != reported
    return topology or beta or (None if other else region)


def asset_name(
    source: str, reported: str | None, every: bool, cluster: str | None, kind: str | None, name: str | None
) -> str:
    """A name for an asset that is unique among clusters: cluster, type and name."""
    return f"{row_cluster(source, reported, every, cluster)}/{kind or ''}/{name or ''}"
