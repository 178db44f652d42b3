"""The cause of a network error, inside the errors of the libraries that wrap it."""

from __future__ import annotations

from opencost_kusto.redact import first_sentence


def innermost(error: BaseException) -> BaseException:
    """The first cause, which is the socket's error; urllib3 has it among the arguments of its error."""
    while inner := error.__cause__ or error.__context__ or _argument(error):
        error = inner
    return error


def _argument(error: BaseException) -> BaseException | None:
    return next((one for one in error.args if isinstance(one, BaseException)), None)


def reason(error: BaseException) -> str:
    """The message of the first cause, without a full stop."""
    cause = innermost(error)
    return first_sentence(str(getattr(cause, "strerror", None) or cause), 120).rstrip(".")
