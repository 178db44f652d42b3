"""Every construct of the review has a verdict, and every test that a verdict names exists."""

from __future__ import annotations

import importlib

import pytest

from tests.emulator.constructs import CONSTRUCTS, REVIEW, STAYS, Construct
from tests.support.documents import GUIDES


def test_every_construct_is_judged() -> None:
    """There are 44, and each is right by a test, or has a note."""
    assert [*CONSTRUCTS] == list(range(1, 45))
    assert all(one.verdict for one in CONSTRUCTS.values())


@pytest.mark.parametrize("one", CONSTRUCTS.values(), ids=lambda one: one.sent)
def test_a_verdict_has_its_tests(one: Construct) -> None:
    """The tests that a verdict names are there."""
    exist(one.tests)


@pytest.mark.parametrize("tests", REVIEW.values(), ids=REVIEW)
def test_a_rule_of_the_review_has_its_tests(tests: tuple[str, ...]) -> None:
    """The tests that hold a rule are there."""
    assert tests
    exist(tests)


@pytest.mark.parametrize("arguments", STAYS)
def test_what_stays_is_in_the_guide(arguments: str) -> None:
    """A user reads there what the program leaves as it is."""
    assert arguments in GUIDES["operations"]


def exist(tests: tuple[str, ...]) -> None:
    """Fail for a test that is not there."""
    for name in tests:
        module, _, test = name.rpartition(".")
        assert hasattr(importlib.import_module(f"tests.{module}"), test), name
