"""The current run of a pipeline, from the environment of Azure Pipelines, GitHub Actions or GitLab."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from opencost_kusto.redact import redacted

# Metadata keys by the variable that holds each, as the three document them. None of these is a secret.
_AZURE = {
    "ciProject": "SYSTEM_TEAMPROJECT",
    "ciRunId": "BUILD_BUILDID",
    "ciRunAttempt": "SYSTEM_JOBATTEMPT",
    "ciJobId": "SYSTEM_JOBID",
    "ciBranch": "BUILD_SOURCEBRANCH",
}
_GITHUB = {
    "ciProject": "GITHUB_REPOSITORY",
    "ciRunId": "GITHUB_RUN_ID",
    "ciRunAttempt": "GITHUB_RUN_ATTEMPT",
    # The job's key in the workflow: GitHub does not set a job number.
    "ciJobId": "GITHUB_JOB",
    "ciBranch": "GITHUB_REF_NAME",
}
_GITLAB = {
    "ciProject": "CI_PROJECT_PATH",
    "ciRunId": "CI_PIPELINE_ID",
    "ciRunUrl": "CI_PIPELINE_URL",
    "ciJobId": "CI_JOB_ID",
    "ciJobUrl": "CI_JOB_URL",
    "ciBranch": "CI_COMMIT_REF_NAME",
}
# What Azure Pipelines writes ahead of a branch; BUILD_SOURCEBRANCHNAME has only what follows its last slash.
_BRANCH = "refs/heads/"


def pipeline(environment: Mapping[str, str]) -> dict[str, str]:
    """The pipeline's run as Metadata; empty outside of a pipeline.

    Keys are `ciSystem` (azure-pipelines, github-actions or gitlab), and if set `ciProject`, `ciRunId`,
    `ciRunAttempt`, `ciRunUrl`, `ciJobId`, `ciJobUrl` and `ciBranch`.
    """
    if environment.get("TF_BUILD", "").lower() == "true" and environment.get("SYSTEM_HOSTTYPE", "build") == "build":
        # In a classic release the build's variables are those of the artifact, so none are used.
        return _metadata("azure-pipelines", _AZURE, environment, _azure_url(environment))
    if environment.get("GITHUB_ACTIONS") == "true":
        return _metadata("github-actions", _GITHUB, environment, _github_url(environment))
    if environment.get("GITLAB_CI") == "true":
        return _metadata("gitlab", _GITLAB, environment, None)
    return {}


def _metadata(system: str, names: Mapping[str, str], environment: Mapping[str, str], url: str | None) -> dict[str, str]:
    """The variables that are set, by key, without secrets that an address may contain."""
    values = {key: environment.get(name) for key, name in names.items()}
    if url is not None:
        values["ciRunUrl"] = url
    texts = {key: redacted(value).removeprefix(_BRANCH) for key, value in values.items() if value}
    return {"ciSystem": system, **texts}


def _azure_url(environment: Mapping[str, str]) -> str | None:
    """The run's page; the collection's address ends with a slash, and a project's name may contain spaces."""
    names = ("SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID")
    collection, project, run = (environment.get(name, "") for name in names)
    if not (collection and project and run):
        return None
    return f"{collection.rstrip('/')}/{quote(project, safe='')}/_build/results?buildId={quote(run)}"


def _github_url(environment: Mapping[str, str]) -> str | None:
    """The page of this attempt of the run."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (environment.get(name, "") for name in names)
    if not (server and repository and run):
        return None
    attempt = environment.get("GITHUB_RUN_ATTEMPT")
    return f"{server.rstrip('/')}/{repository}/actions/runs/{run}" + (f"/attempts/{attempt}" if attempt else "")
