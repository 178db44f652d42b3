"""The environment of a pipeline is stored in Metadata, and never overrides what the user set."""

from __future__ import annotations

import json

import pytest

from opencost_kusto.ci.metadata import pipeline
from opencost_kusto.cli.options import RunOptions

AZURE = {
    "TF_BUILD": "True",
    "SYSTEM_HOSTTYPE": "build",
    "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": "https://dev.azure.com/contoso/",
    "SYSTEM_TEAMPROJECT": "Load tests",
    "SYSTEM_JOBATTEMPT": "2",
    "SYSTEM_JOBID": "12f1170f-54f2-53f3-20dd-22fc7dff55f9",
    "SYSTEM_ACCESSTOKEN": "a-secret",
    "BUILD_BUILDID": "4821",
    "BUILD_SOURCEBRANCH": "refs/heads/feature/cart",
}
GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "contoso/load-tests",
    "GITHUB_RUN_ID": "1658821493",
    "GITHUB_RUN_ATTEMPT": "3",
    "GITHUB_JOB": "load",
    "GITHUB_REF_NAME": "feature/cart",
    "GITHUB_TOKEN": "a-secret",
    "ACTIONS_RUNTIME_TOKEN": "a-secret",
}
GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_PROJECT_PATH": "contoso/load-tests",
    "CI_PIPELINE_ID": "918273",
    "CI_PIPELINE_URL": "https://gitlab.com/contoso/load-tests/-/pipelines/918273",
    "CI_JOB_ID": "5566",
    "CI_JOB_URL": "https://gitlab.com/contoso/load-tests/-/jobs/5566",
    "CI_COMMIT_REF_NAME": "feature/cart",
    "CI_JOB_TOKEN": "a-secret",
}


def test_azure_pipelines() -> None:
    """Azure Pipelines provides project, run, attempt and job; the run's address is put together, spaces encoded."""
    assert pipeline(AZURE) == {
        "ciSystem": "azure-pipelines",
        "ciProject": "Load tests",
        "ciRunId": "4821",
        "ciRunAttempt": "2",
        "ciRunUrl": "https://dev.azure.com/contoso/Load%20tests/_build/results?buildId=4821",
        "ciJobId": "12f1170f-54f2-53f3-20dd-22fc7dff55f9",
        "ciBranch": "feature/cart",
    }


def test_github_actions() -> None:
    """GitHub Actions provides repository, run and attempt, and the address is that of the attempt."""
    assert pipeline(GITHUB) == {
        "ciSystem": "github-actions",
        "ciProject": "contoso/load-tests",
        "ciRunId": "1658821493",
        "ciRunAttempt": "3",
        "ciRunUrl": "https://github.com/contoso/load-tests/actions/runs/1658821493/attempts/3",
        "ciJobId": "load",
        "ciBranch": "feature/cart",
    }


def test_gitlab() -> None:
    """GitLab provides the addresses itself."""
    assert pipeline(GITLAB) == {
        "ciSystem": "gitlab",
        "ciProject": "contoso/load-tests",
        "ciRunId": "918273",
        "ciRunUrl": "https://gitlab.com/contoso/load-tests/-/pipelines/918273",
        "ciJobId": "5566",
        "ciJobUrl": "https://gitlab.com/contoso/load-tests/-/jobs/5566",
        "ciBranch": "feature/cart",
    }


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"CI": "true", "BUILD_BUILDID": "1", "CI_PIPELINE_ID": "2"},
        # A Codespace has some of GitHub's variables, and is no run.
        {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "contoso/load-tests"},
        # In a classic release BUILD_BUILDID is the build the artifact is from.
        {**AZURE, "SYSTEM_HOSTTYPE": "release"},
    ],
    ids=["nothing", "lookalikes", "codespace", "release"],
)
def test_outside_a_pipeline_metadata_is_empty(environment: dict[str, str]) -> None:
    """Without the variable that marks a pipeline, no run is invented."""
    assert pipeline(environment) == {}


@pytest.mark.parametrize("environment", [AZURE, GITHUB, GITLAB], ids=["azure", "github", "gitlab"])
def test_metadata_has_no_secret_and_no_empty_value(environment: dict[str, str]) -> None:
    """Tokens are left out, as are unset and empty variables, and addresses lose their credentials."""
    assert "a-secret" not in json.dumps(pipeline(environment))
    flags = {name: value for name, value in environment.items() if value.lower() in ("true", "build")}
    empty = dict.fromkeys(environment, "") | flags
    assert list(pipeline(empty)) == list(pipeline(flags)) == ["ciSystem"]
    signed = {name: value.replace("https://", "https://user:a-secret@") for name, value in environment.items()}
    metadata = pipeline(signed)
    assert metadata["ciRunUrl"].startswith("https://<credentials>@")
    assert "a-secret" not in json.dumps(metadata)


def test_what_the_user_gave_stands() -> None:
    """A key given with --metadata keeps its value, and the pipeline's other keys stand beside it."""
    run = RunOptions(metadata=["ciRunId=mine", "team=shop"]).run(GITHUB)
    assert run.metadata == pipeline(GITHUB) | {"ciRunId": "mine", "team": "shop"}
    assert run.id.startswith("sync-")
    assert RunOptions(metadata=["team=shop"]).run({}).metadata == {"team": "shop"}
