"""An Azure CLI that is signed in: a program called `az`, which prints a token as the real one does."""

from __future__ import annotations

import json
from pathlib import Path

TOKEN = "header.claims.signature"
_MESSAGES = {"accessToken": TOKEN, "expires_on": 4102444800, "subscription": "s", "tenant": "t", "tokenType": "Bearer"}


def signed_in(folder: Path) -> dict[str, str]:
    """The environment in which it is the first of azure-identity's chain that is signed in.

    The chain is that of a developer's machine: the credentials of a deployed service try addresses of Azure.
    """
    program = folder / "az"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(_MESSAGES)}'\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "AZURE_TOKEN_CREDENTIALS": "dev"}
