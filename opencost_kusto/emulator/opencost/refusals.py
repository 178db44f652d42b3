"""What the server says when it refuses, in its words and by version."""

from __future__ import annotations

from datetime import UTC, datetime

from opencost_kusto.emulator.http import CloseConnection, Reply
from opencost_kusto.emulator.opencost.numbers import encode
from opencost_kusto.emulator.opencost.replies import json_reply, text_reply
from opencost_kusto.emulator.opencost.sampling import Span
from opencost_kusto.emulator.opencost.versions import Version


def error(version: Version, message: str, *, status: int = 500) -> Reply:
    """An error in JSON."""
    return json_reply(_document(version, message, status), status=status)


def illegal_window(version: Version, path: str, text: str) -> Reply:
    """A window that cannot be read: a line of text, and on /allocation a document after it.

    Raises CloseConnection for a summary, which the server does not survive.
    """
    if path == "/allocation/summary":
        raise CloseConnection
    line = f"Invalid 'window' parameter: illegal window: {text}\n"
    if path == "/allocation":
        line += _document(version, "illegal window: [nil, nil)", 500).decode()
    return text_reply(line)


def empty_window(version: Version, path: str, window: Span) -> Reply:
    """A window that does not end after its start. Raises CloseConnection for /assets of newer versions."""
    if path == "/assets" and version.closes_on_reversed_assets:
        raise CloseConnection
    if path == "/assets":
        what = f"computing node assets for {_span(window)}: illegal duration value for {_span(window)}"
        return text_reply(f"Error getting assets: error computing asset set: error {what}\n", status=500)
    return error(version, f"illegal window: {_span(window)}")


def bad_asset_filter(message: str) -> Reply:
    """A filter that /assets cannot parse."""
    return text_reply(f"Error getting assets: err parsing filter '': {message}\n", status=500)


def not_found() -> Reply:
    """A path the server does not have."""
    return text_reply("404 page not found\n", status=404)


def _span(window: Span) -> str:
    bounds = (datetime.fromtimestamp(bound, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000") for bound in window)
    return f"[{', '.join(bounds)})"


def _document(version: Version, message: str, code: int) -> bytes:
    if version.status_in_envelope:
        return encode({"code": code, "status": "", "data": None, "message": f"Error: {message}"})
    return encode({"code": code, "data": None, "message": message}) + b"\n"
