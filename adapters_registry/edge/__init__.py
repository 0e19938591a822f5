"""Where requests come in: what both planes do with a connection and its headers before any route sees them."""
