"""Sync by the clock: what Kusto lacks is found, and brought while OpenCost still has it."""
