"""Tests of the bundled KQL."""
