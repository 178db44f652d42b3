"""One ingestion message to rows in its table, or to a failure that `.show ingestion failures` lists."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opencost_kusto.emulator.kusto.access import EMULATOR
from opencost_kusto.emulator.kusto.behaviour import Chances
from opencost_kusto.emulator.kusto.catalog import Failure, KustoRefusal, moment
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.mapping import MalformedFile, parse_mapping, records, select
from opencost_kusto.emulator.kusto.storage import BlobNotFound, Storage
from opencost_kusto.emulator.kusto.upkeep import upkeep

_REQUIRED: Final = ("BlobPath", "DatabaseName", "TableName", "Id")
TOKEN: Final = "emulator-identity-token of "
"""How the identity token of a principal begins."""
Message = dict[str, Any]


def land(text: str, engines: Mapping[str, Engine], storage: Storage, chances: Chances) -> None:
    """Ingest what a message announces; raises ConnectionError when the storage cannot be reached."""
    try:
        message = json.loads(text)
        message = {name: message[name] for name in _REQUIRED} | message
        engine = {name.lower(): one for name, one in engines.items()}[message["DatabaseName"].lower()]
    except (ValueError, KeyError, TypeError):
        # Not a message of an ingestion client, or of no database: the service discards it, and no command lists it.
        return
    context = (message.get("AdditionalProperties") or {}).get("authorizationContext") or ""
    principal = context.removeprefix(TOKEN) if context.startswith(TOKEN) else EMULATOR
    # What the data management service refuses is listed nowhere: `.show ingestion failures` covers the engine.
    if chances.hit("unlisted_refusals") or not engine.access.may_ingest(principal, message["TableName"]):
        return
    try:
        _land(message, engine, storage, chances)
    except ConnectionError:
        raise
    except KustoRefusal as refused:
        _fail(engine, message, refused.code, str(refused))
    except BlobNotFound as missing:
        _fail(engine, message, "Download_SourceNotFound", f"The blob was not found: {missing}")
    except (MalformedFile, UnicodeDecodeError) as malformed:
        _fail(engine, message, "BadRequest_NoRecordsOrWrongFormat", f"The file was refused: {malformed}")
    except (OSError, EOFError, zlib.error) as corrupted:
        _fail(engine, message, "BadRequest_CorruptedArchive", f"The archive cannot be read: {corrupted}")


def _land(message: Message, engine: Engine, storage: Storage, chances: Chances) -> None:
    more = message.get("AdditionalProperties") or {}
    tags, keys = json.loads(more.get("tags", "[]")), tuple(json.loads(more.get("ingestIfNotExists", "[]")))
    rows = _records(message, str(more.get("format", "csv")).lower(), storage)
    # Under one lock: of two messages with one key the second finds the first one's extent.
    with engine.lock:
        upkeep(engine, chances)
        name = message["TableName"]
        if name not in engine.tables:
            raise KustoRefusal(f"Table '{name}' was not found", code="BadRequest_TableNotExist")
        table = engine.tables[name]
        if any(extent.holds(keys) for extent in table.extents.values()):
            if chances.behaviour.hits_are_failures:
                raise KustoRefusal(
                    "Another stream with the same ingest-by tag was already ingested",
                    code="Skipped_IngestByTagAlreadyExists",
                )
            return
        if "ingestionMapping" in more:
            mapping = parse_mapping(more["ingestionMapping"])
        elif more.get("ingestionMappingReference") in table.mappings:
            mapping = table.mappings[more["ingestionMappingReference"]]
        else:
            reference = more.get("ingestionMappingReference")
            what = f"Mapping reference '{reference}' of table '{name}' was not found"
            raise KustoRefusal(what, code="BadRequest_MappingReferenceWasNotFound")
        sql, parameters, columns = select(table, mapping, rows)
        created = moment(more["creationTime"]) if more.get("creationTime") else None
        for _ in range(2 if chances.hit("twice_at_once") else 1):
            engine.insert(table, sql, parameters, tags, columns=columns, created=created)


def _records(message: Message, kind: str, storage: Storage) -> list[str]:
    if kind not in {"json", "multijson"}:
        raise KustoRefusal(f"Format '{kind}' is not served by this emulator", code="BadRequest_FormatNotSupported")
    data = storage.blob(message["BlobPath"])
    if urlsplit(message["BlobPath"]).path.endswith(".gz"):
        data = gzip.decompress(data)
    if not data:
        raise KustoRefusal("The blob is empty", code="BadRequest_EmptyBlob")
    rows = records(data, kind)
    if not rows:
        raise MalformedFile("it has no records")
    return rows


def _fail(engine: Engine, message: Message, code: str, details: str) -> None:
    properties = {
        name: value
        for name, value in (message.get("AdditionalProperties") or {}).items()
        if name != "authorizationContext"
    }
    path = message["BlobPath"].split("?")[0]
    with engine.lock:
        failure = Failure(message["TableName"], path, details, code, json.dumps(properties), engine.clock())
        engine.failures.append(failure)
