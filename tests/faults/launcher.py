"""Runs `opencost-kusto` in a fork of a process that has imported everything, and sends it a signal at its moment.

A run costs some milliseconds this way, not a second of imports, so that fifty moments can be tried. Reads a line of
JSON for each run on stdin, and writes one for each: the exit code, negative for a signal, and the seconds it ran.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from typing import Any

# What a run imports when it needs it.
import azure.kusto.data
import azure.kusto.ingest
import azure.storage.blob
import azure.storage.queue  # noqa: F401

from opencost_kusto import cli


def main() -> None:
    """Run what each line says until there are no more."""
    for line in sys.stdin:
        requested = json.loads(line)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            run(requested)
        if requested["signal"]:
            time.sleep(requested["after"])
            os.kill(child, requested["signal"])
        _, status = os.waitpid(child, 0)
        print(json.dumps({"exit_code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began}))
        sys.stdout.flush()


def run(requested: dict[str, Any]) -> None:
    """Be the command line, as a fresh process would be, and end like one."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, path in ((1, requested["stdout"]), (2, requested["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ["TMPDIR"] = tempfile.tempdir = requested["tmp"]
    sys.argv = ["opencost-kusto", *requested["arguments"]]
    cli.main()


if __name__ == "__main__":
    main()
