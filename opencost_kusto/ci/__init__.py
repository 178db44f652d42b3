"""Runs in CI pipelines: wrapped commands, metadata and the summary page."""
