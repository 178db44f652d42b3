"""A guide lists the faults of the suite, and how each ends: no more, no fewer, and nothing else."""

from __future__ import annotations

from opencost_kusto.result import Outcome
from tests.faults.rows import declared, table
from tests.support.documents import GUIDES


def test_the_readme_lists_every_fault() -> None:
    """The table in the guide is what the tests declare, and so what they assert."""
    assert table() in GUIDES["faults"], (
        "the guide to faults differs; python -m tests.faults.rows prints the table it must have"
    )


def test_a_fault_ends_in_one_way() -> None:
    """Where several tests show one fault, they declare the same ending; outcomes are those a run reports."""
    endings = {one.what: one for one in declared()}
    assert all(endings[one.what] == one for one in declared())
    assert {outcome for one in declared() for outcome in one.outcomes} <= set(Outcome)


def test_only_complete_batches_end_with_0() -> None:
    """Exit code 0 means rows that landed, that had landed, that were not waited for, or that do not exist."""
    fine = {"landed", "already landed", "queued", "empty"}
    for one in declared():
        assert one.exit_code != 0 or set(one.outcomes) <= fine, one
