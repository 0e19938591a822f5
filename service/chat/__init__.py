"""A conversation at the terminal, with the service over HTTP: what ``quickchange chat`` is made of.

words (what a line means) and conversation (what was said) decide; remote (HTTP) and screen (terminal or pipe) do;
session ties them.
"""
