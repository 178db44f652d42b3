"""A batch between OpenCost and Kusto: its response, and what its table held before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opencost_kusto.batch import Batch
from opencost_kusto.errors import KustoError, OpenCostKustoError, ReasonCode
from opencost_kusto.load.decision import AtHand

if TYPE_CHECKING:
    from opencost_kusto.load.holdings import Holding
    from opencost_kusto.load.sealed import SealedBatch


@dataclass(slots=True)
class StagedBatch:
    """A batch whose response was read to its end.

    `sealed` is the response on disk, None when it had no rows or when `error` says why there is none. `holding` is what
    the table held before the request, `sent_before` whether the run log says that rows were sent; `unknown` is
    the error if Kusto could not be read. `rows_before` is how many rows the window before has, if it is known. `notes`
    are sentences about the response, `code` the kind of the first. `unsupported`: OpenCost does not have the dataset,
    and the run does not need it. `begun` is on the monotonic clock.
    """

    batch: Batch
    begun: float
    sealed: SealedBatch | None = None
    error: OpenCostKustoError | None = None
    holding: Holding | None = None
    sent_before: bool = False
    rows_before: int | None = None
    unknown: KustoError | None = None
    notes: list[str] = field(default_factory=list)
    code: ReasonCode | None = None
    unsupported: bool = False

    @property
    def at_hand(self) -> AtHand:
        """What OpenCost returned."""
        if self.error is not None:
            return AtHand.ERROR
        return AtHand.NOTHING if self.sealed is None else AtHand.RESPONSE

    def note(self, sentence: str, code: ReasonCode | None = None) -> None:
        """Add a sentence about the response."""
        self.notes.append(sentence)
        self.code = self.code or code
