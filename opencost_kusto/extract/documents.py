"""The two small documents in which OpenCost describes itself, read with types."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from opencost_kusto.errors import ContentError
from opencost_kusto.extract.refusals import failure
from opencost_kusto.names import identity
from opencost_kusto.redact import first_sentence


class ClusterInfo(msgspec.Struct, frozen=True):
    """The cluster in /clusterInfo; its `name` is a constant of the cloud provider, and so is not read."""

    id: str | None = None
    region: str | None = None


class _Envelope(msgspec.Struct):
    data: ClusterInfo | None = None
    code: int = 200
    message: str | None = None


class _ClusterMap(msgspec.Struct):
    data: dict[str, ClusterInfo | None] | None = None


class _InstallInfo(msgspec.Struct):
    version: str | None = None


T = TypeVar("T")


def cluster_info(body: bytes, where: str) -> ClusterInfo:
    """Read /clusterInfo; its id is a name, or None.

    Raises ContentError for another shape, OpenCostError when the envelope's code is not 200, and UsageError for an id
    that is no name.
    """
    found = _decode(body, _Envelope, where)
    if found.code != 200:
        reason = first_sentence(found.message or "it does not say why")
        raise failure(f"OpenCost responded to {where} with code {found.code}: {reason}", found.message or "")
    info = found.data or ClusterInfo()
    id_ = identity(info.id, f"The cluster id in {where}") if info.id else None
    return ClusterInfo(id_, info.region or None)


def cluster_ids(body: bytes, where: str) -> frozenset[str]:
    """Read the ids in /clusterInfoMap, of all clusters of the server; raises ContentError."""
    return frozenset(_decode(body, _ClusterMap, where).data or {})


def version(body: bytes, where: str) -> str | None:
    """Read the version in /installInfo; raises ContentError for another shape."""
    return _decode(body, _InstallInfo, where).version or None


def _decode(body: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise ContentError(f"{where} has another shape than OpenCost's: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise ContentError(f"{where} did not return JSON. Check that the address is an OpenCost.") from error
