"""Declarations: datasets, their tables, columns and options, and what follows from them."""
