"""Logging: structlog over the standard library, console for people and JSON for machines, always to stderr.

A module takes `get_logger(__name__)` and says what happened as an event with named values. Nothing is configured by
importing; without `configure_logging` the standard library's own rules hold (warnings and above, to stderr). Tracebacks
are written without local variables, which may hold a patient's data.
"""

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any, Literal

import structlog
from structlog.typing import Processor

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


class _StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at the time, so that a redirected stream is respected."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line; a stream that is gone is the standard library's to report."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self.handleError(record)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A structured logger called `name`, usually `__name__`."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
    )
    return logger


def configure_logging(
    level: Literal["debug", "info", "warning", "error"] = "warning",
    style: Literal["auto", "console", "json"] = "auto",
) -> None:
    """Send this process's logs, other libraries' and Python's warnings included, to stderr. Calling again replaces.

    Args:
        level: the least severe level that is shown.
        style: `auto` means console on a terminal, else JSON, one object a line.
    """
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    final: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        ]
    )
    handler = _StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def bound_session(session_id: str, **values: Any) -> AbstractContextManager[None]:
    """Within this context every log line of this thread or task carries `session` (and `values`)."""
    return structlog.contextvars.bound_contextvars(session=session_id, **values)
