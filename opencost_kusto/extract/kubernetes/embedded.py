"""Certificates and keys embedded in a kubeconfig, in base64, instead of the path of a file."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from opencost_kusto.errors import UsageError
from opencost_kusto.extract.doors import CA, CERT, KEY

_KEYS = {CA: "certificate-authority-data", CERT: "client-certificate-data", KEY: "client-key-data"}


def embedded(settings: dict[str, Any], origin: str) -> dict[str, str]:
    """The keys of a cluster or a user that hold a certificate or a key themselves, by the option of the doors.

    A key without a value is removed: the file counts then, as in kubectl. Raises UsageError, which names the key and
    the origin but not the value, for one that is not base64.
    """
    found = {option: key for option, key in _KEYS.items() if key in settings}
    for option, key in list(found.items()):
        if not settings[key]:
            del settings[key], found[option]
        elif not _is_base64(settings[key]):
            raise UsageError(f"{key} in {origin} cannot be used: it is not base64.")
    return found


def _is_base64(value: Any) -> bool:
    # Lines end where the writer of the YAML broke them.
    try:
        base64.b64decode("".join(str(value).splitlines()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return isinstance(value, str)
