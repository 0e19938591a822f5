"""Sends validated requests to replicas, and returns their tokens."""
