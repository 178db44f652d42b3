"""Tests of encoding rows."""
