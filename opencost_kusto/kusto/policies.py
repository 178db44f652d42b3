"""Policies of tables, as Kusto shows them."""

from __future__ import annotations

from opencost_kusto.schema.columns import Json


def is_enabled(policy: Json) -> bool:
    """Whether a policy is enabled; Kusto shows one without other settings as a bool."""
    return bool(policy.get("IsEnabled") if isinstance(policy, dict) else policy)
