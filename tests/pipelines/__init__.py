"""Tests of sync in pipelines."""
