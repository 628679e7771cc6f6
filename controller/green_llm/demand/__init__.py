"""Demand: how many queries arrive in each slot."""
