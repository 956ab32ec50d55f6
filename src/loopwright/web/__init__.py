"""The web console: an event API over the memory, and pages that show it.

The server reads the log and writes the inbox, and runs no session: each has a worker process of its own, which the
server starts and which outlives it. Nothing here names a loop; what a loop adds comes from its declaration.
"""
