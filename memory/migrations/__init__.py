"""Ordered revisions of the database, run by `loopwright.memory.migrate`."""
