"""What adapters exist, and which version is live."""
