"""One endpoint of a cluster through the SDK's client: statements with a deadline, retries and this package's errors.

The SDK is imported when a client is made, because the import takes longer than a small sync.
"""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar

from opencost_kusto.errors import KustoError, OpenCostKustoError, ReasonCode
from opencost_kusto.kusto.network import Environment
from opencost_kusto.kusto.sdk_errors import Exchange, translate
from opencost_kusto.kusto.signin import Credential, connection
from opencost_kusto.retry import retrying, within
from opencost_kusto.version import __version__

T = TypeVar("T")
Row = dict[str, Any]
Kind = Literal["query", "command"]
APPLICATION = f"opencost-kusto/{__version__}"
# A statement is quoted up to its first value: an id that is cut off does not help.
_VALUE = re.compile(r'[("]')
# Without a handler, Python prints the log of azure-identity on stderr. Programs that set up logging still receive it.
logging.getLogger("azure").addHandler(logging.NullHandler())


class Endpoint:
    """The engine, or the ingestion endpoint, of one cluster. Safe to use from several threads."""

    def __init__(
        self, uri: str, credential: Credential | None, *, trusted_hosts: Sequence[str] = (), advice: str = ""
    ) -> None:
        self.uri = uri
        self._credential = credential
        self._trusted = tuple(trusted_hosts)
        self._advice = advice
        self._lock = threading.Lock()
        self._client: Any = None

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def execute(
        self,
        kind: Kind,
        database: str,
        text: str,
        *,
        seconds: float,
        attempts: int = 4,
        options: Mapping[str, Any] | None = None,
        late: bool = True,
        access: str = "",
        creates: bool = False,
    ) -> list[Row]:
        """The rows of a statement's first result; raises KustoError.

        `seconds` is for all attempts together. `late`: a statement that did not end in time may be sent again.
        `access` is the database whose rights the statement needs, if it is sent to another; `creates`: the object
        of a command does not exist yet, so that a smaller right suffices.
        """
        what = f"the {kind} {' '.join(_VALUE.split(text, maxsplit=1)[0].split())[:80]} …"

        def once() -> list[Row]:
            request_id = f"opencost-kusto;{uuid.uuid4()}"
            exchange = Exchange(self.uri, what, access or database, text, request_id, self._advice, creates=creates)
            return exchanged(
                exchange, seconds, lambda: self._execute(kind, database, text, seconds, request_id, options), late
            )

        return retrying(once, seconds=seconds, attempts=attempts)

    def _execute(
        self, kind: Kind, database: str, text: str, seconds: float, request_id: str, options: Mapping[str, Any] | None
    ) -> list[Row]:
        from azure.kusto.data import ClientRequestProperties

        properties: Any = ClientRequestProperties()  # type: ignore[no-untyped-call]
        properties.client_request_id = request_id
        properties.application = APPLICATION
        chosen = {"servertimeout": timedelta(seconds=max(seconds, 1)), "request_app_name": APPLICATION}
        for name, value in {**chosen, **(options or {})}.items():
            properties.set_option(name, value)
        client = self.connect()
        execute = client.execute_query if kind == "query" else client.execute_mgmt
        result = execute(database, text, properties)
        return [row.to_dict() for row in result.primary_results[0]] if result.primary_results else []

    def connect(self) -> Any:
        """The SDK's client, made once; nothing is sent."""
        with self._lock:
            if self._client is None:
                from azure.kusto.data import KustoClient
                from azure.kusto.data.kusto_trusted_endpoints import MatchRule, well_known_kusto_endpoints

                rule: Any = MatchRule
                trusted: Any = well_known_kusto_endpoints
                rules = [rule(host.removeprefix("*"), not host.startswith("*")) for host in self._trusted]
                trusted.add_trusted_hosts(rules, replace=False)
                self._client = KustoClient(connection(self.uri, self._credential))
                _with_environment(self._client, self.uri)
            return self._client


def exchanged(exchange: Exchange, seconds: float, call: Callable[[], T], late: bool = True) -> T:
    """Run one exchange within its deadline, with its errors translated; `late`: a late one may be repeated."""

    def too_late() -> KustoError:
        what = exchange.what[:1].upper() + exchange.what[1:]
        # The SDK sets no deadline for connecting: a firewall that drops packets has this effect, too.
        cure = "" if exchange.storage else "Check firewall and private endpoint, and whether the cluster is overloaded."
        text = f"{what} did not end within {seconds:g} s at {exchange.uri}. {cure}".rstrip()
        return KustoError(text, code=ReasonCode.TIMED_OUT, transient=late, cure=cure)

    try:
        return within(seconds, call, too_late)
    except OpenCostKustoError:
        raise
    except Exception as error:
        raise translate(error, exchange) from error


def _with_environment(client: Any, uri: str) -> None:
    """Set the environment's proxies and certificates on the SDK's session once; the SDK has no public setting."""
    environment = Environment.of(uri)
    session = client._session
    session.trust_env = False
    session.proxies = environment.proxies
    session.verify = environment.verify
