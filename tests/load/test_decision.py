"""The one decision: its truth table, row by row."""

from __future__ import annotations

from itertools import product

import pytest

from opencost_kusto.load.decision import AtHand, Decision, HeldState, Situation, decide

RESPONSE, NOTHING, ERROR = AtHand.RESPONSE, AtHand.NOTHING, AtHand.ERROR
SEND, KEEP, CHANGED, REPLACE = Decision.SEND, Decision.KEEP, Decision.KEEP_CHANGED, Decision.REPLACE
DEDUPLICATE, EMPTY, SPOOL, FAIL = Decision.DEDUPLICATE, Decision.SETTLE_EMPTY, Decision.SPOOL, Decision.FAIL

# What is held, what is at hand, what else is known; the decision without and with `replace`.
TABLE: list[tuple[HeldState, AtHand, dict[str, bool], Decision, Decision]] = [
    (HeldState.UNKNOWN, RESPONSE, {}, FAIL, FAIL),
    (HeldState.UNKNOWN, NOTHING, {}, FAIL, FAIL),
    (HeldState.UNKNOWN, ERROR, {}, FAIL, FAIL),
    (HeldState.NOTHING, RESPONSE, {}, SEND, SEND),
    (HeldState.NOTHING, RESPONSE, {"sent_before": True}, SEND, SEND),
    (HeldState.NOTHING, NOTHING, {}, EMPTY, EMPTY),
    (HeldState.NOTHING, NOTHING, {"sent_before": True}, FAIL, FAIL),
    (HeldState.NOTHING, ERROR, {}, FAIL, FAIL),
    (HeldState.SAME, RESPONSE, {}, KEEP, KEEP),
    (HeldState.OTHER, RESPONSE, {}, CHANGED, REPLACE),
    (HeldState.OTHER, RESPONSE, {"similar": False}, CHANGED, FAIL),
    (HeldState.OTHER, NOTHING, {}, KEEP, KEEP),
    (HeldState.OTHER, ERROR, {}, KEEP, FAIL),
    (HeldState.DAMAGE, RESPONSE, {}, REPLACE, REPLACE),
    (HeldState.DAMAGE, RESPONSE, {"only_doubled": True}, REPLACE, REPLACE),
    (HeldState.DAMAGE, RESPONSE, {"fewer": True}, FAIL, REPLACE),
    (HeldState.DAMAGE, RESPONSE, {"fewer": True, "only_doubled": True}, DEDUPLICATE, REPLACE),
    (HeldState.DAMAGE, NOTHING, {}, FAIL, FAIL),
    (HeldState.DAMAGE, NOTHING, {"only_doubled": True}, DEDUPLICATE, DEDUPLICATE),
    (HeldState.DAMAGE, ERROR, {}, FAIL, FAIL),
    (HeldState.DAMAGE, ERROR, {"only_doubled": True}, DEDUPLICATE, DEDUPLICATE),
]


@pytest.mark.parametrize(("held", "at_hand", "more", "plain", "replacing"), TABLE)
def test_the_table(
    held: HeldState, at_hand: AtHand, more: dict[str, bool], plain: Decision, replacing: Decision
) -> None:
    """Each row of the truth table decides as it says."""
    situation = Situation(held, at_hand, **more)
    assert decide(situation) is plain
    assert decide(situation, replace=True) is replacing


def test_the_table_is_complete() -> None:
    """Every state of the table meets everything that can be at hand."""
    there = {(held, at_hand) for held, at_hand, *_ in TABLE}
    assert there == set(product(HeldState, AtHand)) - {(HeldState.SAME, NOTHING), (HeldState.SAME, ERROR)}


def test_a_durable_spool_keeps_a_response_that_cannot_be_loaded_yet() -> None:
    """Where Kusto does not say what it holds, a response waits in a spool that lasts."""
    assert decide(Situation(HeldState.UNKNOWN, RESPONSE), durable_spool=True) is SPOOL
    assert decide(Situation(HeldState.UNKNOWN, NOTHING), durable_spool=True) is FAIL


@pytest.mark.parametrize("at_hand", AtHand)
def test_what_a_policy_hides_is_never_repaired(at_hand: AtHand) -> None:
    """Where row-level security hides rows, apparent damage may be none, so it is only reported."""
    for doubled, replace in product((True, False), repeat=2):
        now = Situation(HeldState.DAMAGE, at_hand, only_doubled=doubled, visible=False)
        assert decide(now, replace=replace) is FAIL


def test_adopt_replaces_what_is_hardly_alike() -> None:
    """A response of another cluster replaces rows only where the user adopts it."""
    other = Situation(HeldState.OTHER, RESPONSE, similar=False)
    assert decide(other, replace=True, adopt=True) is REPLACE
    assert decide(other, adopt=True) is CHANGED


@pytest.mark.parametrize("held", HeldState)
@pytest.mark.parametrize("at_hand", AtHand)
def test_damage_and_the_unknown_are_never_kept(held: HeldState, at_hand: AtHand) -> None:
    """Only a complete response is ever reported landed."""
    for sent_before, alike, fewer, doubled, replace, adopt, spool in product((True, False), repeat=7):
        now = Situation(held, at_hand, sent_before, alike, fewer, doubled)
        decision = decide(now, replace=replace, adopt=adopt, durable_spool=spool)
        if decision in (KEEP, CHANGED):
            assert held in (HeldState.SAME, HeldState.OTHER)
        if decision in (SEND, REPLACE, SPOOL):
            assert at_hand is RESPONSE
