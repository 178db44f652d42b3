"""Decide what to do with a batch, from what the table holds, what is at hand, and the policy.

| the table holds | at hand | without `replace` | with `replace` |
|---|---|---|---|
| unknown | a response | spool (a durable one), otherwise fail | the same |
| unknown | nothing, or an error | fail | fail |
| nothing | a response | send | send |
| nothing, and no run has sent rows | nothing | settle empty | settle empty |
| nothing, and a run has sent rows | nothing | fail | fail |
| nothing | an error | fail | fail |
| a complete response, this one | a response | keep | keep |
| a complete response, another one | a response | keep changed | replace |
| … with hardly any row in common | a response | keep changed | fail, with `adopt` replace |
| a complete response | nothing | keep | keep |
| a complete response | an error | keep | fail |
| damage | a response of at least as many rows | replace | replace |
| damage | a response of fewer rows | deduplicate if that is enough, otherwise fail | replace |
| damage | nothing, or an error | deduplicate if that is enough, otherwise fail | the same |

Damage is everything that is not one complete response: rows missing, rows duplicated, two responses mixed, values lost
by another mapping. It is never reported as landed, already landed or changed. Deduplication is enough if the table
holds every row of one complete response, some more than once. Without tags (`LoadPolicy.tags`) the table is the same:
what a tag would have prevented is damage when it is counted. If a policy hides rows from queries (row-level security,
restricted view), counts cannot be trusted, and damage fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class HeldState(StrEnum):
    """What a table holds of a batch."""

    UNKNOWN = "unknown"
    NOTHING = "nothing"
    SAME = "the response at hand"
    OTHER = "another complete response"
    DAMAGE = "damage"


class AtHand(StrEnum):
    """What OpenCost returned for a batch."""

    RESPONSE = "a response"
    NOTHING = "no rows"
    ERROR = "an error"


class Decision(Enum):
    """What to do."""

    SEND = auto()
    KEEP = auto()
    KEEP_CHANGED = auto()
    REPLACE = auto()
    DEDUPLICATE = auto()
    SETTLE_EMPTY = auto()
    SPOOL = auto()
    FAIL = auto()


@dataclass(frozen=True, slots=True)
class Situation:
    """The inputs of a decision.

    `sent_before`: the run log says that a run sent rows of the batch. `similar`: the response at hand and the one that
    landed share most of their rows' keys. `fewer`: the response at hand has fewer rows than the table holds, each
    counted once. `only_doubled`: the table holds every row of one complete response, some more than once. `visible`: no
    policy hides rows of the table from queries.
    """

    held: HeldState
    at_hand: AtHand
    sent_before: bool = False
    similar: bool = True
    fewer: bool = False
    only_doubled: bool = False
    visible: bool = True


def decide(now: Situation, *, replace: bool = False, adopt: bool = False, durable_spool: bool = False) -> Decision:
    """Return what to do; the table above is the specification."""
    has_response = now.at_hand is AtHand.RESPONSE
    match now.held:
        case HeldState.UNKNOWN:
            return Decision.SPOOL if has_response and durable_spool else Decision.FAIL
        case HeldState.NOTHING:
            if has_response:
                return Decision.SEND
            empty = now.at_hand is AtHand.NOTHING and not now.sent_before
            return Decision.SETTLE_EMPTY if empty else Decision.FAIL
        case HeldState.SAME:
            return Decision.KEEP
        case HeldState.OTHER:
            return _other(now, replace=replace, adopt=adopt)
        case HeldState.DAMAGE:
            if not now.visible:
                return Decision.FAIL
            if has_response and (replace or not now.fewer):
                return Decision.REPLACE
            return Decision.DEDUPLICATE if now.only_doubled else Decision.FAIL


def _other(now: Situation, *, replace: bool, adopt: bool) -> Decision:
    """Decide for a table that holds a complete response other than the one at hand."""
    if now.at_hand is AtHand.RESPONSE:
        if not replace:
            return Decision.KEEP_CHANGED
        return Decision.REPLACE if now.similar or adopt else Decision.FAIL
    return Decision.FAIL if replace and now.at_hand is AtHand.ERROR else Decision.KEEP
