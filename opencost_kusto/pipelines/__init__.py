"""Sync in pipelines: the run that tells, the command that is measured, and the page that shows what it cost."""
