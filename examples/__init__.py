"""Small adapters of the bundled base with a visible effect, their data, and the scripts that made them."""
