"""One thread a process: two processes with a pool of threads each were seen to run a hundred times slower."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def one() -> Iterator[None]:
    """Hold numpy, scipy and torch to one thread inside a ``with``, whatever the environment says.

    Without threadpoolctl it holds torch alone, and says so once in a warning.
    """
    held = torch.get_num_threads()
    with ExitStack() as stack:
        try:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(1))
        except ImportError:
            message = "threadpoolctl is absent: torch is held to one thread, numpy is not"
            warnings.warn(message, RuntimeWarning, stacklevel=1)  # one place, so that it is shown once
        torch.set_num_threads(1)
        stack.callback(torch.set_num_threads, held)
        yield
