"""Quickchange: one frozen base language model, many adapters, one service."""
