"""What is known of a window: the states, and the one table that leads from the latest entry of the run log to them.

                   ┌────────────── the table holds a complete response ──────────► LANDED
                   ├────────────── the table holds anything else ────────────────► DAMAGED
                   │
    DUE ── sync ───┼─ queued, timed out ─► QUEUED ─── the rows arrive ───────────► LANDED
                   ├─ no cost, in time ──────────────────────────────────────────► EMPTY
                   ├─ no cost, past retention ─► INCONCLUSIVE ─┬─ confirmed ─────► EMPTY
                   │                                           └─ a longer window
                   ├─ no longer at this step ──► EXPIRED ──────────────┴──┬──────► LANDED, by the longer window
                   │                                                      └──────► LOST, at every step
                   └─ anything else ───────────► FAILED ─── sync again

`database.window_states` renders `RULES` as KQL, and `by_entry` reads them for the results of the run under way, so that
both mean the same. The table takes precedence over the run log: a window with an entry "landed" and no rows is due.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from opencost_kusto.errors import ReasonCode
from opencost_kusto.result import Outcome


class WindowState(StrEnum):
    """What is known of a window; the diagram above shows how one becomes another."""

    DUE = "due"
    QUEUED = "queued"
    LANDED = "landed"
    DAMAGED = "damaged"
    EMPTY = "empty"
    INCONCLUSIVE = "inconclusive"
    EXPIRED = "expired"
    LOST = "lost"
    FAILED = "failed"


# States of windows that need no request.
SETTLED = frozenset({WindowState.LANDED, WindowState.EMPTY})
# States in which only a longer window can still have the cost.
GONE = frozenset({WindowState.EXPIRED, WindowState.INCONCLUSIVE})


class Rule(NamedTuple):
    """The state after an outcome: with a reason code, where one is named, and only past retention, where that counts.

    Past retention is a response that came when OpenCost's built-in store may no longer have had the window.
    """

    outcome: Outcome
    state: WindowState
    code: ReasonCode | None = None
    past_retention: bool = False


# The first that fits. What no rule names, such as rows written to files, leaves the window due.
RULES = (
    Rule(Outcome.LANDED, WindowState.LANDED),
    Rule(Outcome.ALREADY_LANDED, WindowState.LANDED),
    Rule(Outcome.QUEUED, WindowState.QUEUED),
    Rule(Outcome.TIMED_OUT, WindowState.QUEUED),
    Rule(Outcome.EMPTY, WindowState.EMPTY, code=ReasonCode.CONFIRMED_EMPTY),
    Rule(Outcome.EMPTY, WindowState.INCONCLUSIVE, past_retention=True),
    Rule(Outcome.EMPTY, WindowState.EMPTY),
    Rule(Outcome.EXPIRED, WindowState.INCONCLUSIVE, code=ReasonCode.INCONCLUSIVE),
    Rule(Outcome.EXPIRED, WindowState.EXPIRED),
    Rule(Outcome.FAILED, WindowState.EXPIRED, code=ReasonCode.EXPIRED),
    Rule(Outcome.FAILED, WindowState.FAILED),
    Rule(Outcome.LOST, WindowState.LOST),
)


def by_entry(outcome: Outcome, code: str | None, *, past_retention: bool) -> WindowState:
    """The state by the latest entry of a window, or by a result of this run before it is an entry."""
    for rule in RULES:
        fits = rule.code in (None, code) and (past_retention or not rule.past_retention)
        if rule.outcome is outcome and fits:
            return rule.state
    return WindowState.DUE
