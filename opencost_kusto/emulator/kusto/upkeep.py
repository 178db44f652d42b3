"""What Kusto does on its own, in the background: here before a request, so that the same history is the same again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from opencost_kusto.emulator.kusto.behaviour import Chances
from opencost_kusto.emulator.kusto.catalog import Table
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.policies import timespan


def upkeep(engine: Engine, chances: Chances) -> None:
    """Drop tables whose time is over, merge and compact extents, let tags expire."""
    with engine.lock:
        _auto_delete(engine)
        if chances.behaviour.tags_expire:
            expire_tags(engine)
        if chances.hit("compactions"):
            for table in engine.tables.values():
                empty = [id for id, extent in table.extents.items() if extent.deleted and not extent.rows]
                engine.drop_extents(table, empty)
        if chances.hit("merges"):
            mergeable = [group for table in engine.tables.values() if len((group := _mergeable(table))[1]) > 1]
            if mergeable:
                table, extents = chances.choice("merges", mergeable)
                engine.merge(table, extents)


def expire_tags(engine: Engine) -> None:
    """Remove the tags that the retention policy no longer keeps.

    https://learn.microsoft.com/kusto/management/extent-tags-retention-policy: never before the time, from the
    extent's creation on.
    """
    now = engine.clock()
    for table in engine.tables.values():
        for rule in table.policies.get("extent_tags_retention") or ():
            prefix, kept = str(rule["TagPrefix"]), timespan(rule["RetentionPeriod"])
            for id, extent in table.extents.items():
                if now - (extent.latest or extent.created) > kept:
                    left = tuple(tag for tag in extent.tags if not tag.startswith(prefix))
                    table.extents[id] = replace(extent, tags=left)


def _auto_delete(engine: Engine) -> None:
    """https://learn.microsoft.com/kusto/management/auto-delete-policy."""
    for table in list(engine.tables.values()):
        policy = table.policies.get("auto_delete")
        if policy and (policy.get("DeleteIfNotEmpty") or not table.extents):
            expires = datetime.fromisoformat(str(policy["ExpiryDate"]))
            if engine.clock() > (expires if expires.tzinfo else expires.replace(tzinfo=UTC)):
                engine.drop(table)


def _mergeable(table: Table) -> tuple[Table, list[str]]:
    """The extents of a table that may merge: https://learn.microsoft.com/kusto/management/merge-policy.

    Extents with different `drop-by` tags never merge, nor do those of a table that allows neither kind of merging.
    """
    policy = table.policies.get("merge") or {}
    if not (policy.get("AllowMerge", True) or policy.get("AllowRebuild", True)):
        return table, []
    groups: dict[frozenset[str], list[str]] = {}
    for id, extent in table.extents.items():
        groups.setdefault(frozenset(tag for tag in extent.tags if tag.startswith("drop-by:")), []).append(id)
    return table, max(groups.values(), key=len, default=[])
