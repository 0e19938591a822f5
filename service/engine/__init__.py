"""The engine: one ragged batch over one base, with an adapter per row. Independent of Ray and HTTP."""
