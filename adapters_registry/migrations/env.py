"""Runs the migrations on the connection from ``database.migrate``."""

from alembic import context

from adapters_registry.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
