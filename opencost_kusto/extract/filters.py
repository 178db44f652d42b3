"""Keep the records that the options of a batch select, whether OpenCost filters by them or not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import defstruct

from opencost_kusto.batch import Batch
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.decoder import Decoded, text_of


def filtered(batch: Batch) -> bool:
    """Whether the options of a batch leave out some records."""
    return any(option.keeps and batch.requested[option.name] != option.default for option in batch.table.options)


def keeps(batch: Batch) -> Callable[[bytes | Decoded], bool]:
    """Whether the options of a batch keep a record."""
    filters = [(option.keeps, batch.requested[option.name]) for option in batch.table.options if option.keeps]
    keys = defstruct("Keys", [(each.key, Json, None) for each, _ in filters])
    decode = msgspec.json.Decoder(keys).decode

    def kept(record: bytes | Decoded) -> bool:
        found = decode(text_of(record))
        return all(each.keeps(value, str(getattr(found, each.key) or "")) for each, value in filters)

    return kept if filters else lambda _: True
