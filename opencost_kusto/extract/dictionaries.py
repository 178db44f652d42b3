"""OpenCost's records as dictionaries, for users of the library."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from opencost_kusto.batch import Batch, RequestOptions, Source
from opencost_kusto.errors import ReasonCode, UsageError
from opencost_kusto.retry import retrying
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, OPTIONS
from opencost_kusto.window import Window, parse


class Note(Protocol):
    """Is called with a remark about a response: a sentence, and its reason code, if any."""

    def __call__(self, sentence: str, code: ReasonCode | None = None, /) -> object:
        """Store one sentence."""


class Dictionaries(ABC):
    """A server that has records, also as dictionaries.

    The keys are OpenCost's own. What is remarkable about a response, such as records of other clusters that were left
    out, is a UserWarning.
    """

    timeout: float

    @abstractmethod
    def source(self) -> Source:
        """The source that the server describes."""

    @abstractmethod
    def records(self, batch: Batch, note: Note) -> Generator[bytes, None, None]:
        """The records of one batch as JSON."""

    def allocation(
        self,
        window: Window | str = "1h",
        *,
        aggregate: str = "container",
        include_idle: bool = False,
        share_idle: bool = False,
    ) -> list[dict[str, Json]]:
        """The cost of workloads in a window: a dictionary for each allocation (`name`, `properties`, `totalCost`, …).

        `window` is a Window, or text such as `1h`, `yesterday` or two times, which is widened to OpenCost's marks of
        five minutes. `aggregate` is `container`, `pod`, `namespace`, `node`, `controller`, `label:app`, or several with
        commas. Raises UsageError, OpenCostError, and ContentError for a response that cannot be trusted.
        """
        if share_idle and not include_idle:
            raise UsageError("share_idle has no effect alone: add include_idle=True.")
        value = OPTIONS["aggregate"].parse(aggregate)
        options = RequestOptions(aggregate=value, include_idle=include_idle, share_idle=share_idle)
        return self._dictionaries(ALLOCATION, window, options)

    def assets(self, window: Window | str = "1h", *, types: Iterable[str] = ()) -> list[dict[str, Json]]:
        """The cost of nodes, disks, load balancers and other assets in a window: a dictionary for each.

        Windows and errors are those of `allocation`. `types` are asset types to keep (`Node`, `Disk`), all by default.
        """
        options = RequestOptions(filter_types=OPTIONS["filter_types"].parse(",".join(types)))
        return self._dictionaries(ASSETS, window, options)

    def _dictionaries(self, table: Table, window: Window | str, options: RequestOptions) -> list[dict[str, Json]]:
        resolved = window if isinstance(window, Window) else parse(window, now=datetime.now(UTC))
        batch = Batch(table, self.source().name, resolved, options)
        notes: list[str] = []

        def read() -> list[dict[str, Json]]:
            notes.clear()
            return [
                msgspec.json.decode(record) for record in self.records(batch, lambda one, _=None: notes.append(one))
            ]

        found = retrying(read, seconds=self.timeout, attempts=4)
        for sentence in notes:
            warnings.warn(sentence, stacklevel=3)
        return found
