"""The roof: ``python -m attnflow claims | sweep | compare | cite``, also called ``attnflow``.

Its exit status is 0; 1, a claim is contradicted, and all could be judged; 2, refused before the work started: words, paths,
devices; 3, failed during it: a claim without a verdict, a full disk, a fault; 130, stopped by Ctrl-C; 141, whoever read the
output has closed it; or 143, ended by SIGTERM. With 2, 3, 130 and 143 comes one line that says why and what stays.

Nothing is imported here that takes time, so that Ctrl-C is caught from the first moment.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """Ctrl-C and SIGTERM while a command runs: the first one raises KeyboardInterrupt, and what comes after is not heard.

    number: of the signal that came, 0 before; last: whether the process ends with the command. Where a parent has switched one
    off, as nohup does, it stays so.
    """

    def __init__(self, last: bool):
        self.number, self.last, self._before, self._loading = 0, last, {}, False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for one in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(one) != signal.SIG_IGN:
                    self._before[one] = signal.signal(one, self._caught)
        return self

    def __exit__(self, *_):
        if not (
            self.number and self.last
        ):  # the end of a process that was stopped is not for a second Ctrl-C to disturb
            for one, before in self._before.items():
                signal.signal(one, before)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """While modules are imported: Ctrl-C ends at once, since it may be lost in the callbacks of an import.

        What goes wrong in here is never the caller's, a WrongUse neither: it is raised as an ImportError.
        """
        self._loading = True
        try:
            yield
        except Exception as error:
            raise ImportError(f"{type(error).__name__}: {error}") from error
        finally:
            self._loading = False

    def _caught(self, number, frame):
        if self._loading:
            os.write(2, f"attnflow: {_told(number)}, nothing was written\n".encode())
            os._exit(128 + number)
        if not self.number:
            self.number = number
            raise KeyboardInterrupt


def _told(number):
    """A signal in words."""
    return "ended by SIGTERM" if number == signal.SIGTERM else "stopped"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, or these ``arguments``. Returns the exit status; see :mod:`attnflow.__main__`."""
    work, stop = None, Stop(last=arguments is None)
    with stop:
        try:
            with stop.loading():
                from attnflow import arguments as words
                from attnflow import outlet
            outlet.prepare()
            options = words.checked(sys.argv[1:] if arguments is None else arguments)
            with stop.loading():
                plan = planner(options)
            work = plan(options)
            status = work.run()
            sys.stdout.flush()
            return status
        except BaseException as error:
            return ended(error, work, stop.number)


def planner(options: object) -> object:
    """What plans the work that the ``options`` of a call ask for, with all modules that it needs imported."""
    if getattr(options, "list", False) and not getattr(options, "files", None):
        from attnflow import listing

        listing.known()
        return listing.plan
    from attnflow import commands

    commands.load(options)
    return commands.PLANS[options.command]


def ended(error: BaseException, work: object, number: int) -> int:
    """Say what became of a call that an ``error`` has ended. Returns the exit status.

    work: what had begun, None before; number: of the signal that came, else 0. A WrongUse is the caller's until the work begins,
    and a fault from then on.
    """
    from attnflow import outlet
    from attnflow.inputs import WrongUse

    lost = outlet.failed()
    if isinstance(error, SystemExit) and work is None:  # of argparse, which has printed a help text
        if lost is None:
            return error.code or 0
        error = lost
    if isinstance(error, WrongUse) and work is None:
        outlet.tell(str(error))
        return 2
    stays = left(work)
    if number or isinstance(error, KeyboardInterrupt):
        number = number or signal.SIGINT
        outlet.tell(f"{_told(number)}, {stays}")
        return 128 + number
    if isinstance(error, BrokenPipeError):
        if stays != outlet.NOTHING:  # who has read enough need not hear of it
            outlet.tell(f"the output was closed, {stays}")
        return 141
    outlet.tell(f"failed: {type(error).__name__}: {error}; {stays}")
    return 3


def left(work: object) -> str:
    """What stays of ``work`` that was stopped or has failed, in words; None is what had not begun."""
    from attnflow import outlet

    try:
        return work.left() if work is not None else outlet.NOTHING
    except Exception as error:
        return f"what was computed could not be written: {type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
