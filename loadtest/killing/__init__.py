"""Killing one process of a running service and watching its clients."""
