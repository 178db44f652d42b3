"""Runs `opencost-kusto` in a fork of a process that has imported everything.

The run is a process of its own, with the environment, the folder and the output it is given; it takes some
milliseconds, not half a second of imports. What a fresh interpreter does (how it imports, its encoding, the name of the
program) is for tests that start one.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import opencost_kusto

ROOT = Path(__file__).parents[2]
_HUNG = 120


def run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder with exactly this environment; nothing is on its stdin."""
    with tempfile.TemporaryDirectory() as written:
        out, err = Path(written, "stdout"), Path(written, "stderr")
        process = _launcher()
        assert process.stdin is not None
        assert process.stdout is not None
        wanted = {"arguments": [*arguments], "folder": str(folder), "environment": dict(environment), "to": written}
        print(json.dumps(wanted), file=process.stdin, flush=True)
        exit_code = json.loads(process.stdout.readline())
        return subprocess.CompletedProcess([*arguments], exit_code, out.read_text("utf-8"), err.read_text("utf-8"))


@cache
def _launcher() -> subprocess.Popen[str]:
    """The process that forks, one for all tests of a worker; it ends when its stdin does."""
    command = [sys.executable, "-m", "tests.support.forked"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    return process


def _main() -> None:
    """Run what each line of stdin says, and write the exit code of each, negative for a signal."""
    for module in pkgutil.walk_packages(opencost_kusto.__path__, "opencost_kusto."):
        # What a run imports when it needs it, and with it the libraries; not DuckDB and what draws.
        if not re.search(r"__main__|\.emulator\b|\.insight\.(pictures|visuals)|\.render", module.name):
            importlib.import_module(module.name)
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        print(json.dumps(_ended(child)), flush=True)


def _ended(child: int) -> int:
    """The exit code of a child, which is killed where it hangs."""
    deadline = time.monotonic() + _HUNG
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])


def _run(wanted: dict[str, Any]) -> None:
    """Be the command line, as a fresh process would be, and end like one."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(wanted["to"], name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    time.tzset()
    os.chdir(wanted["folder"])
    sys.argv = ["opencost-kusto", *wanted["arguments"]]
    sys.modules["__main__"].__package__ = None
    try:
        importlib.import_module("opencost_kusto.cli").main()
    except SystemExit as ended:
        # All that an interpreter does at its end but taking itself apart, which takes longer than the run.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 0)


if __name__ == "__main__":
    _main()
