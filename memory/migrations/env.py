"""Alembic's entry point. It runs on the connection, and in the transaction, that `migrate` hands it."""

from alembic import context

from loopwright.memory.migrate import VERSION_TABLE
from loopwright.memory.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
