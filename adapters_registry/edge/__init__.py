"""Code that both planes run on a connection and its headers before any route."""
