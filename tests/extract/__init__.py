"""Tests of reading OpenCost."""
