"""OpenCost's aggregates and asset types. OpenCost ignores unknown ones without an error, so they are refused here."""

from __future__ import annotations

import difflib
import re

from opencost_kusto.errors import UsageError

# Our default: one row for each container of a pod, which is OpenCost's response without the parameter. OpenCost's own
# `aggregate=container` merges all containers of one name.
CONTAINER_ROWS = "container"
PROPERTIES = (
    *("cluster", "node", "namespace", "pod", "container", "controller", "controllerKind", "service"),
    *("deployment", "statefulset", "daemonset", "job", "department", "environment", "owner", "product", "team"),
)
ASSET_TYPES = ("Node", "Disk", "LoadBalancer", "ClusterManagement", "Network", "Cloud", "Shared")
_BY_LOWER = {word.lower(): word for word in PROPERTIES}


def aggregate(text: str) -> str:
    """The canonical spelling of an aggregate: OpenCost's properties, `label:NAME`, `annotation:NAME`, comma-separated.

    Raises UsageError, with the list of OpenCost's properties, for any other.
    """
    parts = [part.strip() for part in text.split(",")]
    return ",".join(dict.fromkeys(_property(part) for part in parts))


def _property(part: str) -> str:
    kind, separator, name = part.partition(":")
    if separator and kind.strip().lower() in ("label", "annotation") and name.strip():
        return f"{kind.strip().lower()}:{name.strip()}"
    if part.lower() in _BY_LOWER:
        return _BY_LOWER[part.lower()]
    near = difflib.get_close_matches(part.lower(), _BY_LOWER, 1)
    hint = f" Did you mean {_BY_LOWER[near[0]]}?" if near else ""
    raise UsageError(
        f"OpenCost does not aggregate by {part!r}, and would ignore it.{hint}"
        f" Use {', '.join(PROPERTIES)}, label:NAME or annotation:NAME."
    )


def spelled(canonical: str) -> str:
    """The aggregate in OpenCost's spelling: names of labels as Prometheus writes them."""
    return ",".join(
        f"{kind}:{re.sub(r'[^A-Za-z0-9_]', '_', name)}" if name else kind
        for kind, _, name in (part.partition(":") for part in canonical.split(","))
    )


def asset_types(text: str) -> tuple[str, ...]:
    """Comma-separated asset types in any case, as sorted lower-case texts; none means all. Raises UsageError."""
    requested = [word.strip().lower() for word in text.split(",") if word.strip()]
    types = {kind.lower() for kind in ASSET_TYPES}
    for word in requested:
        if word not in types:
            raise UsageError(f"OpenCost has no asset type {word!r}; it has {', '.join(ASSET_TYPES)}.")
    return tuple(sorted(set(requested)))
