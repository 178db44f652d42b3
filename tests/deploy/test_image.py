"""The Dockerfile builds from the wheel, pinned, and runs as a user without rights."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.errors import UsageError
from opencost_kusto.version import __version__
from tests.bench import fleet
from tests.support.documents import GUIDES, ROOT

DEPLOY = ROOT / "opencost_kusto" / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")


def test_two_stages_from_one_pinned_image() -> None:
    """Both stages begin with one image, named by its full version, and the second takes only the installed program."""
    [image] = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", image)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    _, last = DOCKERFILE.split("\nFROM ", 2)[1:]
    assert re.findall(r"^COPY (.*)$", last, re.MULTILINE) == ["--from=build /opt/opencost-kusto /opt/opencost-kusto"]


def test_it_is_not_root_and_has_its_labels() -> None:
    """The user is a number that is not 0, as runAsNonRoot requires, and the labels are those of the OCI."""
    [user] = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert int(user) > 0
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", DOCKERFILE))
    assert labels == {"title", "description", "licenses", "version", "revision"}
    assert f"ARG VERSION={__version__}" in DOCKERFILE
    assert 'ENTRYPOINT ["opencost-kusto"]' in DOCKERFILE


def test_what_is_installed_is_pinned_by_hash_and_runs_within_its_memory() -> None:
    """Both come from the wheel; memory is measured with what the guide says that the image sets."""
    assert re.findall(r"pip install (.*?) (?:\\|&&)", DOCKERFILE.replace("\n", " ")) == [
        "--no-cache-dir --require-hashes -r /unpacked/opencost_kusto/deploy/requirements.txt",
        "--no-cache-dir --no-deps /wheel/*.whl",
    ]
    assert "`MALLOC_ARENA_MAX=2`" in GUIDES["operations"]
    assert fleet.image_environment() == {"MALLOC_ARENA_MAX": "2"}


def test_the_context_is_the_wheel() -> None:
    """Everything but the wheel is ignored, and the wheel is what the Dockerfile copies."""
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!dist/*.whl"]
    assert "COPY dist/*.whl /wheel/" in DOCKERFILE
    assert "docker build -f Dockerfile -t" in GUIDES["scheduled"]


def test_requirements_are_pinned_within_the_bounds() -> None:
    """Each dependency, and the extra `fast`, is pinned to a version that pyproject.toml allows, with hashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (DEPLOY / "requirements.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    for line in [*project["dependencies"], *project["optional-dependencies"]["fast"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pinned[wanted.name]), line
    for entry in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in entry, entry


def test_the_files_are_copied(tmp_path: Path) -> None:
    """`manifest --files` copies all of them to a new folder, and refuses one that exists."""
    app(["manifest", "--files", str(tmp_path / "new")], standalone_mode=False, obj=Process())
    copied = {path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*") if path.is_file()}
    shipped = {path.relative_to(DEPLOY) for path in DEPLOY.rglob("*") if path.is_file() and ".py" not in path.suffix}
    assert copied == shipped
    with pytest.raises(UsageError, match="does not exist yet"):
        app(["manifest", "--files", str(tmp_path)], standalone_mode=False, obj=Process())
