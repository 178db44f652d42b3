"""Tests against a real kube-apiserver: `python -m tests.kube`. It is built once, and cached outside the repository.

    python -m tests.kube             build what is missing, and run the tests
    python -m tests.kube --cached    run them only where nothing has to be built, as CI does
    python -m tests.kube --record    run them, and write the exchanges to tests/data/kubernetes

What follows goes to pytest. The first build takes about 16 minutes of processor time, 2.6 GB of disk, and Go 1.26.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.kube.binaries import binaries, build, cache


def main(arguments: list[str]) -> int:
    """Run the lane; its exit code."""
    folder = cache()
    if "--cached" in arguments and not binaries(folder).there:
        print(f"tests.kube: not run, since {folder} has no API server. Build it with: python -m tests.kube")
        return 0
    if "--cached" not in arguments:
        build(folder)
    if "--record" in arguments:
        os.environ["OPENCOST_KUSTO_KUBE_RECORD"] = "1"
    more = [word for word in arguments if word not in ("--cached", "--record")]
    return int(pytest.main(["-m", "kube", "-n", "0", "tests/kube", *more]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
