"""Alembic's migrations, run at start by ``database.migrate``."""
