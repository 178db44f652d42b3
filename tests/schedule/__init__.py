"""Tests of the scheduled sync."""
