"""Tests of opencost_kusto/extract/kubernetes."""
