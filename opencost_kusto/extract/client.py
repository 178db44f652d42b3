"""Asks OpenCost over HTTP: one step, one GET, one answer at a time. The door to `requests`.

Yields records as JSON text, whatever the dataset, and knows nothing of rows or Kusto.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests

from opencost_kusto.batch import Batch, Source
from opencost_kusto.errors import ContentError, OpenCostError, UsageError
from opencost_kusto.extract import prometheus, responses
from opencost_kusto.names import identity, variable
from opencost_kusto.redact import first_sentence, redacted
from opencost_kusto.retry import retrying, within
from opencost_kusto.schema.aggregate import CONTAINER_ROWS, spelled
from opencost_kusto.schema.columns import Json

_CHUNK = 1 << 16
# Families about OpenCost's own process and client library, not about costs.
_OWN_FAMILIES = ("go_", "process_", "promhttp_")
_WAIT_HELPS = {HTTPStatus.TOO_MANY_REQUESTS, 502, 503, 504}


class OpenCost:
    """One OpenCost server.

    `cluster` names it where it does not say which cluster it serves. `connect_timeout` and `timeout` are seconds for
    connecting and for a whole answer. Raises UsageError for an endpoint that is no HTTP address.
    One answer at a time: OpenCost answers one window at a time and runs dozens of queries for it.
    """

    def __init__(
        self,
        endpoint: str = "http://localhost:9003",
        *,
        cluster: str | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 600.0,
        attempts: int = 5,
    ) -> None:
        if not timeout > 0:
            raise UsageError(f"OpenCost cannot answer within {timeout:g} s; give it a time above 0.")
        signed_in = _checked(endpoint.strip())
        self.endpoint = redacted(endpoint.strip().rstrip("/"))
        self._base = endpoint.strip().rstrip("/")
        self.cluster = None if cluster is None else identity(cluster, variable("--cluster"))
        self.timeout = timeout
        self._connect_timeout = connect_timeout
        self._attempts = attempts
        self._session = requests.Session()
        # Proxies and certificates from the environment, but never credentials from a .netrc.
        self._session.auth = requests.utils.get_auth_from_url(self._base) if signed_in else _no_auth

    def __enter__(self) -> OpenCost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give connections back."""
        self._session.close()

    def source(self) -> Source:
        """What the server says of itself; raises OpenCostError, and UsageError when nobody names the cluster."""
        try:
            info = self._document("/clusterInfo").get("data") or {}
        except OpenCostError:
            if self.cluster is None:
                raise
            info = {}
        own = info.get("id")
        if own is not None and own != "":
            own = identity(own, f"The cluster id in /clusterInfo of OpenCost at {self.endpoint}")
        name = self.cluster or own
        if not name:
            raise UsageError(
                f"OpenCost at {self.endpoint} does not say which cluster it serves; name it with --cluster."
            )
        return Source(name, self.cluster, info.get("region") or None, self._version(), own or None)

    def reach(self) -> None:
        """Ask the server who it is; raises what `source` does, and OpenCostError where a named one is not reached."""
        try:
            self._document("/clusterInfo")
        except OpenCostError as error:
            if error.transient:
                raise
        self.source()

    def records(self, batch: Batch, note: Callable[[str], None]) -> Generator[bytes, None, None]:
        """The records of one batch, as they stream in. When the iterator ends, the answer was whole.

        `note` is told, in a sentence, of anything the answer had that a reader should know. Raises OpenCostError when
        the server cannot be reached or refuses, ContentError when its answer cannot be trusted.
        """
        request = batch.table.request
        if request is None:
            raise UsageError(f"{batch.table.name} is not something OpenCost is asked for.")
        if request.answer == "exposition":
            yield from self._samples(batch, request.path, note)
            return
        wanted = set(batch.options.filter_types) if "filterTypes" in request.options else set()
        for record in responses.records(self._body(request.path, parameters(batch))):
            if not wanted or (msgspec.json.decode(record, type=_Typed).type or "").lower() in wanted:
                yield record

    def _samples(self, batch: Batch, path: str, note: Callable[[str], None]) -> Iterator[bytes]:
        encode = msgspec.json.Encoder().encode
        not_numbers = 0
        for sample in prometheus.samples(self._body(path, {})):
            if not batch.options.all_metrics and sample.family.startswith(_OWN_FAMILIES):
                continue
            not_numbers += sample.value is None
            yield encode(sample)
        if not_numbers:
            note(f"{not_numbers} samples are NaN or infinite, and null in {batch.table.name}")

    def _document(self, path: str) -> dict[str, Json]:
        body = b"".join(retrying(lambda: list(self._body(path, {})), seconds=self.timeout, attempts=self._attempts))
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except ValueError as error:
            raise ContentError(f"{self.endpoint}{path} did not answer JSON: is there an OpenCost?") from error

    def _version(self) -> str | None:
        try:
            return self._document("/installInfo").get("version")
        except (OpenCostError, ContentError):
            return None

    def _body(self, path: str, query: dict[str, str]) -> Iterator[bytes]:
        """The chunks of a 200 answer's body; the total deadline counts from the request to the last byte."""
        where = f"{self.endpoint}{path}"
        deadline = time.monotonic() + self.timeout

        def late() -> OpenCostError:
            return OpenCostError(f"OpenCost did not answer {where} within {self.timeout:g} s; try a smaller --step.")

        def get() -> requests.Response:
            # Read errors mid-body surface while chunks are taken, and are translated there.
            return self._session.get(
                self._base + path, params=query, stream=True, timeout=(self._connect_timeout, self.timeout)
            )

        try:
            with closing(within(self._connect_timeout + self.timeout, get, late)) as response:
                if response.status_code != HTTPStatus.OK:
                    raise refusal(response, where)
                for chunk in response.iter_content(_CHUNK):
                    if time.monotonic() > deadline:
                        raise late()
                    yield chunk
        except requests.ConnectTimeout as error:
            raise OpenCostError(f"OpenCost at {where} did not accept a connection in time.", transient=True) from error
        except requests.Timeout as error:
            raise late() from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise ContentError(f"OpenCost broke off its answer to {where}.", transient=True) from error
        except requests.RequestException as error:
            raise OpenCostError(
                f"OpenCost at {where} cannot be reached: {_reason(error)}. Is it running, and is the port forwarded?",
                transient=isinstance(error, requests.ConnectionError),
            ) from error


def _checked(endpoint: str) -> bool:
    """Whether an address carries a user; raises UsageError for what is none, without what may be a secret in it."""
    try:
        parts = urlsplit(endpoint)
        found = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        found = None
    if not found or "?" in endpoint or "#" in endpoint:
        shown = redacted(re.split("[?#]", endpoint)[0])
        raise UsageError(f"{shown!r} is not the address of an OpenCost; write http://host:9003, and nothing after ?.")
    return bool(parts.username)


class _Typed(msgspec.Struct):
    type: str | None = None


def parameters(batch: Batch) -> dict[str, str]:
    """The query of the GET for a batch, in the only spellings every OpenCost understands."""
    query = {"window": str(batch.window)}
    for name, value in batch.options.for_table(batch.table).items():
        if name == "aggregate" and value != CONTAINER_ROWS:
            query[name] = spelled(str(value))
        elif value is True:
            query[name] = "true"
    return query


def refusal(response: requests.Response, where: str) -> OpenCostError:
    """A status other than 200 as an error that quotes the first sentence of what the server said."""
    text = response.raw.read(_CHUNK, decode_content=True).decode("utf-8", "replace")
    try:
        message = str(msgspec.json.decode(text, type=dict[str, Any]).get("message") or text)
    except ValueError:
        # A bad window is answered by a line of text with a JSON document glued to it.
        message = text
    said = redacted(responses.first_sentence(message)) or "nothing more"
    status = response.status_code
    if status == HTTPStatus.NOT_FOUND:
        return OpenCostError(f"{where} is not there (404): is this an OpenCost, with its API enabled? It said: {said}")
    after = _seconds(response.headers.get("Retry-After")) if status in _WAIT_HELPS else None
    return OpenCostError(
        f"OpenCost answered {where} with {status}: {said}", transient=status in _WAIT_HELPS, retry_after=after
    )


def _seconds(header: str | None) -> float | None:
    """Retry-After as seconds, at most two minutes; it may be a number or a date."""
    if not header:
        return None
    try:
        wait = float(header)
    except ValueError:
        try:
            wait = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(wait, 0.0), 120.0)


def _reason(error: BaseException) -> str:
    """The innermost cause, which names the socket error."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return first_sentence(str(getattr(error, "strerror", None) or error), 120)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
