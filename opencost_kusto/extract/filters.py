"""Keeps the records that the options of a batch ask for, where OpenCost does not filter by them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import defstruct

from opencost_kusto.batch import Batch
from opencost_kusto.schema.columns import Json


def keeps(batch: Batch) -> Callable[[bytes], bool]:
    """Whether the options of a batch keep a record, where OpenCost does not filter by them."""
    filters = [(option.keeps, batch.requested[option.name]) for option in batch.table.options if option.keeps]
    keys = defstruct("Keys", [(each.key, Json, None) for each, _ in filters])
    decode = msgspec.json.Decoder(keys).decode

    def kept(record: bytes) -> bool:
        found = decode(record)
        return all(each.keeps(value, str(getattr(found, each.key) or "")) for each, value in filters)

    return kept if filters else lambda _: True
