"""Small modules for all packages: threads, logs, counts."""
