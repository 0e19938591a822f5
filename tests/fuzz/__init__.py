"""Fuzzed requests for both planes, over real sockets."""
