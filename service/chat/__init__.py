"""``quickchange chat``: a conversation with the service over HTTP, in the terminal.

words (what a line means) and conversation (what was said) decide; remote (HTTP) and screen (terminal or pipe) do;
session ties them.
"""
