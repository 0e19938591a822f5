"""Kills one process of a running service and records what its clients see."""
