"""Measurements over HTTP and of the engine alone; each names its command, machine and raw samples."""
