"""Tests of sync by the clock."""
