"""The window of a command is a part of a window on OpenCost's marks, and its share is reported by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from opencost_kusto.ci.elapsed import Elapsed
from opencost_kusto.window import Window

BEGAN = datetime(2026, 11, 23, 10, 2, 30, tzinfo=UTC)


def test_the_window_is_the_one_on_the_marks_around_it() -> None:
    """From the mark before the beginning to the mark after the end, whatever the resolution is."""
    elapsed = Elapsed(BEGAN, BEGAN + timedelta(minutes=12))
    assert elapsed.window == Window(BEGAN.replace(minute=0, second=0), BEGAN.replace(minute=15, second=0))
    by_ten = Elapsed(BEGAN, BEGAN + timedelta(minutes=12), timedelta(minutes=10))
    assert by_ten.window.minutes == 20


def test_the_share_of_its_cost_is_by_time() -> None:
    """Twelve of fifteen minutes cost four fifths of what the window cost; costs by name are not added up."""
    [sentence] = Elapsed(BEGAN, BEGAN + timedelta(minutes=12)).described({"": 2.0})
    assert sentence == "Elapsed: 12.0 of the window's 15 minutes. Its share of the cost by time: 1.60000."
    [sentence] = Elapsed(BEGAN, BEGAN + timedelta(minutes=12)).described({"EUR": 2.0, "USD": 1.0})
    assert sentence.endswith(" by time: 1.60000 EUR, 0.80000 USD.")


def test_what_is_shorter_than_two_samples_is_warned_of() -> None:
    """OpenCost may have seen nothing of it at all."""
    share, warning = Elapsed(BEGAN, BEGAN + timedelta(seconds=20)).described({"": 0.5})
    assert share == "Elapsed: 0.3 of the window's 5 minutes. Its share of the cost by time: 0.03333."
    assert "The cost of less than 10 minutes is an estimate, and a pod" in warning
    _, warning = Elapsed(BEGAN, BEGAN + timedelta(minutes=1), timedelta(minutes=1)).described({"": 0.5})
    assert "of less than 2 minutes" in warning
