"""Costs for people: the dashboard and its pictures."""
