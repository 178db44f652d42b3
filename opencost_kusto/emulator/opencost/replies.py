"""Replies with the headers of OpenCost."""

from __future__ import annotations

from opencost_kusto.emulator.http import Reply


def json_reply(body: bytes, *, status: int = 200, delay: float = 0.0) -> Reply:
    """A reply with the headers of OpenCost's JSON responses."""
    return Reply(status, {"Content-Type": "application/json", "Vary": "Origin"}, body, delay)


def text_reply(text: str, *, status: int = 400, delay: float = 0.0) -> Reply:
    """A reply with the headers of OpenCost's plain error texts."""
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Vary": "Origin",
        "X-Content-Type-Options": "nosniff",
    }
    return Reply(status, headers, text.encode(), delay)
