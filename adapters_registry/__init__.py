"""The registry of adapters, versions and aliases."""
