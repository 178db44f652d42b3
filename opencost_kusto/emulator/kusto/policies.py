"""The policies of a table, by their documented rules; what breaks one is a bad request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from opencost_kusto.emulator.kusto.catalog import KustoRefusal

NAMES: Final = {
    "ingestionbatching": "IngestionBatchingPolicy",
    "extent_tags_retention": "ExtentTagsRetentionPolicy",
    "auto_delete": "AutoDeletePolicy",
    "retention": "RetentionPolicy",
    "caching": "CachingPolicy",
    "merge": "ExtentsMergePolicy",
    "sharding": "ShardingPolicy",
    "streamingingestion": "StreamingIngestionPolicy",
    "update": "UpdatePolicy",
    "row_level_security": "RowLevelSecurityPolicy",
    "restricted_view_access": "RestrictedViewAccessPolicy",
}
"""The policies that can be set, and what Kusto calls their objects."""

RESTRICTED: Final = "restricted_view_access"
SECURITY: Final = "row_level_security"

_TIMESPAN: Final = re.compile(r"(-)?(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?")
_LITERAL: Final = re.compile(r"(\d+)([dh])")
_DAYS: Final = re.compile(r"\d+")
Check = Callable[[Any, datetime], None]


def parse(name: str, text: str, before: Any, *, merge: bool, now: datetime) -> Any:
    """The policy of a command, checked; `merge` keeps what the policy before has and this one does not name."""
    if name not in NAMES:
        raise KustoRefusal(f"Syntax error: SYN0002: '{name}' is not a policy known here")
    try:
        given = json.loads(text)
    except ValueError as wrong:
        raise _malformed(name, f"it is not valid JSON: {wrong}") from None
    if merge and isinstance(given, dict) and isinstance(before, dict):
        given = {**before, **given}
    if name in _CHECKS:
        _CHECKS[name](given, now)
    return given


def as_text(literal: str) -> str:
    """A timespan literal of KQL in days or hours, `400d`, as .NET writes it; raises KustoRefusal."""
    found = _LITERAL.fullmatch(literal)
    if found is None:
        raise KustoRefusal(f"'{literal}' is not a timespan")
    hours = int(found[1]) * (24 if found[2] == "d" else 1)
    return f"{hours // 24}.{hours % 24:02}:00:00"


def timespan(value: Any) -> timedelta:
    """A timespan as .NET writes it, `[-][d.]hh:mm[:ss[.fffffff]]` or whole days; raises KustoRefusal."""
    text = str(value)
    if _DAYS.fullmatch(text):
        return timedelta(days=int(text))
    found = _TIMESPAN.fullmatch(text)
    if not isinstance(value, str) or found is None or int(found[3]) > 23 or int(found[4]) > 59:
        raise KustoRefusal(f"'{value}' is not a timespan")
    sign, days, hours, minutes, seconds, ticks = found.groups()
    size = timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=int(seconds or 0))
    size += timedelta(microseconds=int((ticks or "0").ljust(7, "0")) // 10)
    return -size if sign else size


def _malformed(name: str, why: str) -> KustoRefusal:
    return KustoRefusal(f"{NAMES[name]} is malformed: {why}", code="BadRequest_InvalidPolicy")


def _fields(name: str, given: Any, allowed: Mapping[str, type]) -> dict[str, Any]:
    """The fields of a policy object; raises KustoRefusal for another shape, name or type."""
    if not isinstance(given, dict):
        raise _malformed(name, "it is not an object")
    for field, value in given.items():
        if field not in allowed:
            raise _malformed(name, f"it has no property '{field}'")
        if not isinstance(value, allowed[field]) or (allowed[field] is int and isinstance(value, bool)):
            raise _malformed(name, f"'{field}' is not a {allowed[field].__name__}")
    return given


def _batching(given: Any, _: datetime) -> None:
    """https://learn.microsoft.com/kusto/management/batching-policy, "Defaults and limits"."""
    name = "ingestionbatching"
    allowed = {"MaximumBatchingTimeSpan": str, "MaximumNumberOfItems": int, "MaximumRawDataSizeMB": int}
    found = _fields(name, given, allowed)
    ranges = {"MaximumNumberOfItems": (1, 25_000), "MaximumRawDataSizeMB": (100, 4096)}
    for field, (least, most) in ranges.items():
        if not least <= found.get(field, least) <= most:
            raise _malformed(name, f"{field} must be between {least} and {most}, not {found[field]}")
    if "MaximumBatchingTimeSpan" in found:
        span = timespan(found["MaximumBatchingTimeSpan"])
        if not timedelta(seconds=10) <= span <= timedelta(minutes=30):
            raise _malformed(name, f"MaximumBatchingTimeSpan must be between 00:00:10 and 00:30:00, not {span}")


def _tags_retention(given: Any, _: datetime) -> None:
    """https://learn.microsoft.com/kusto/management/extent-tags-retention-policy, "The policy object"."""
    name = "extent_tags_retention"
    if not isinstance(given, list):
        raise _malformed(name, "it is not an array")
    for rule in given:
        found = _fields(name, rule, {"TagPrefix": str, "RetentionPeriod": str})
        if set(found) != {"TagPrefix", "RetentionPeriod"}:
            raise _malformed(name, "each object needs TagPrefix and RetentionPeriod")
        if not found["TagPrefix"].endswith(":") or found["TagPrefix"].count(":") != 1:
            raise _malformed(name, f"TagPrefix '{found['TagPrefix']}' must end with its only colon")
        if timespan(found["RetentionPeriod"]) < timedelta(0):
            raise _malformed(name, "RetentionPeriod is negative")


def _auto_delete(given: Any, now: datetime) -> None:
    """https://learn.microsoft.com/kusto/management/auto-delete-policy, "Policy object"."""
    name = "auto_delete"
    found = _fields(name, given, {"ExpiryDate": str, "DeleteIfNotEmpty": bool})
    try:
        expires = datetime.fromisoformat(found.get("ExpiryDate", ""))
    except ValueError:
        raise _malformed(name, f"ExpiryDate '{found.get('ExpiryDate')}' is not a datetime") from None
    if (expires if expires.tzinfo else expires.replace(tzinfo=UTC)) <= now:
        raise _malformed(name, f"ExpiryDate {found['ExpiryDate']} is not after the current time")


def _merge(given: Any, _: datetime) -> None:
    """https://learn.microsoft.com/kusto/management/merge-policy, "Merge policy properties"."""
    numbers = dict.fromkeys(
        ("RowCountUpperBoundForMerge", "OriginalSizeMBUpperBoundForMerge", "MaxExtentsToMerge", "MaxRangeInHours"), int
    )
    _fields("merge", given, {**numbers, "AllowRebuild": bool, "AllowMerge": bool, "Lookback": dict, "Origin": str})


def _retention(given: Any, _: datetime) -> None:
    """https://learn.microsoft.com/kusto/management/retention-policy, "The policy object"."""
    found = _fields("retention", given, {"SoftDeletePeriod": str, "Recoverability": str})
    if "SoftDeletePeriod" in found:
        timespan(found["SoftDeletePeriod"])
    if found.get("Recoverability", "Enabled") not in ("Enabled", "Disabled"):
        raise _malformed("retention", "Recoverability is Enabled or Disabled")


_CHECKS: Final[dict[str, Check]] = {
    "ingestionbatching": _batching,
    "extent_tags_retention": _tags_retention,
    "auto_delete": _auto_delete,
    "merge": _merge,
    "retention": _retention,
}
