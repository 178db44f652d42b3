"""Tests of the Kusto client."""
