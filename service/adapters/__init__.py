"""Adapters on this machine: fetched, checked, held and leased by digest."""
