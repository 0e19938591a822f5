"""Hostile JSON for every route that takes a body, and what it costs the two planes."""
