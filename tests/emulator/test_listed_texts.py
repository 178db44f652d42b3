"""Queries that differ in their lists of texts and times alone share one translation."""

from __future__ import annotations

import pytest

from opencost_kusto.emulator.kusto.listed_texts import filled, without_lists


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ('T | where A in ("x")', ["x"]),
        ('T | where A in ("x", "y", "z")', ["x", "y", "z", "z"]),
        ('T | where A !in ("it\'s") or B in ( "y" )', ["it's", "y"]),
        # Times, each once.
        ("T | where At > datetime(2026-11-23T10:00:00Z)", ["2026-11-23T10:00:00Z"]),
        (
            'F(datetime(2026-11-23)) | where A in ("x") and At < datetime( 2026-11-24 )',
            ["2026-11-23", "x", "2026-11-24"],
        ),
        ("F(datetime(2026-11-23), datetime(2026-11-24)) | join F(datetime(2026-11-23))", ["2026-11-23", "2026-11-24"]),
        # Not lists of plain texts, and no times.
        ("T | where At > datetime(null)", []),
        ("T | where At > datetime(2026-11-23 10:00)", []),
        ("T | where At > datetime(11-23-2026)", []),
        ("T | where At > todatetime(2026)", []),
        ('T | where A == "datetime(2026-11-23)"', []),
        ("T | where A in (1, 2)", []),
        ('T | where A in ("x", B)', []),
        ('T | where A in~ ("x")', []),
        ('T | where A in ("a\\tb")', []),
        # Not lists: a literal, a comment, another word.
        ("""T | where A == 'in ("x")'""", []),
        ('T // A in ("x")\n| count', []),
        ('T | extend B = begin ("x")', []),
        ("T | count", []),
    ],
)
def test_lists_of_texts_are_taken_out(text: str, texts: list[str]) -> None:
    """Only lists of plain texts are, as many places as the next power of two; the rest stays as it is."""
    plain, found = without_lists(text)
    assert found == texts
    assert (plain == text) == (not texts)


def test_texts_are_put_into_sql() -> None:
    """Each text stands where its place was, quoted as SQL quotes it."""
    _, texts = without_lists('T | where A in ("it\'s", "--")')
    assert filled("SELECT 1 WHERE A IN ('\ue0000\ue001', '\ue0001\ue001')", texts) == (
        "SELECT 1 WHERE A IN ('it''s', '--')"
    )
