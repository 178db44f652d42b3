"""The aggregates OpenCost knows. It drops words it does not know in silence, so they are refused here."""

from __future__ import annotations

import difflib
import re

from opencost_kusto.errors import UsageError

# Our default. OpenCost's own `aggregate=container` merges containers of one name over the whole fleet; rows per
# container of a pod are what it answers without the parameter.
CONTAINER_ROWS = "container"
WORDS = (
    *("cluster", "node", "namespace", "pod", "container", "controller", "controllerKind", "service"),
    *("deployment", "statefulset", "daemonset", "job", "department", "environment", "owner", "product", "team"),
)
ASSET_TYPES = ("Node", "Disk", "LoadBalancer", "ClusterManagement", "Network", "Cloud", "Shared")
_BY_LOWER = {word.lower(): word for word in WORDS}


def aggregate(text: str) -> str:
    """The canonical spelling of an aggregate: known words and `label:NAME`, `annotation:NAME`, comma-separated.

    Raises UsageError with the list of what OpenCost knows.
    """
    parts = [part.strip() for part in text.split(",")]
    return ",".join(dict.fromkeys(_word(part) for part in parts))


def _word(part: str) -> str:
    kind, separator, name = part.partition(":")
    if separator and kind.strip().lower() in ("label", "annotation") and name.strip():
        return f"{kind.strip().lower()}:{name.strip()}"
    if part.lower() in _BY_LOWER:
        return _BY_LOWER[part.lower()]
    near = difflib.get_close_matches(part.lower(), _BY_LOWER, 1)
    hint = f" Did you mean {_BY_LOWER[near[0]]}?" if near else ""
    raise UsageError(
        f"OpenCost does not aggregate by {part!r}, and would drop it in silence.{hint}"
        f" It knows {', '.join(WORDS)}, label:NAME and annotation:NAME."
    )


def spelled(canonical: str) -> str:
    """The aggregate as OpenCost wants it: names of labels as Prometheus writes them."""
    return ",".join(
        f"{kind}:{re.sub(r'[^A-Za-z0-9_]', '_', name)}" if name else kind
        for kind, _, name in (part.partition(":") for part in canonical.split(","))
    )


def asset_types(text: str) -> tuple[str, ...]:
    """Asset types in any case, comma-separated, as the lower-case words a batch is identified by; none means all."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    known = {kind.lower() for kind in ASSET_TYPES}
    for word in words:
        if word not in known:
            raise UsageError(f"OpenCost has no asset type {word!r}; it has {', '.join(ASSET_TYPES)}.")
    return tuple(sorted(set(words)))
