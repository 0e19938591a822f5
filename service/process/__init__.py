"""Starts, watches and stops the processes of ``up``."""
