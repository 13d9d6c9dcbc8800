"""One thread a process: two processes with a pool of threads each were seen to run a hundred times slower."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache

import torch

from attnflow import runs


@contextmanager
def held(count: int = 1) -> Iterator[None]:
    """Hold numpy, scipy and torch to ``count`` threads inside a ``with``, whatever the environment says.

    Without threadpoolctl it holds torch alone, and says so once in a warning.
    """
    runs.integer("count", count)
    before = torch.get_num_threads()
    with ExitStack() as stack:
        try:
            stack.enter_context(_pools(len(sys.modules)).limit(limits=count))
        except ImportError:
            message = f"threadpoolctl is absent: torch is held to {count} thread{'s' * (count != 1)}, numpy is not"
            warnings.warn(message, RuntimeWarning, stacklevel=1)  # one place, so that it is shown once
        torch.set_num_threads(count)
        stack.callback(torch.set_num_threads, before)
        yield


@lru_cache(maxsize=1)
def _pools(modules):
    """The pools of threads of this process. To find them takes milliseconds; a new one comes with an import: so many modules."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
