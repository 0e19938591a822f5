"""The engine: one ragged batch over one base, adapters mixed row by row. No Ray, no HTTP."""
