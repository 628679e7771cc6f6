"""Signals: values over time from configured sources, in ordered chains, honest about where they come from."""
