"""Tests of CI pipelines."""
