"""Loading models without transformers' bars and advice on the terminal: what matters of it, the caller checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

# What is silenced is the process's, so that two threads would restore what the other one has set.
_SILENCED = RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' bars and all below errors, and restore both afterwards; threads take turns."""
    from transformers.utils import logging

    with _SILENCED:
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
