"""One clear line where a script starts workers while its own workers are reading it.

Python starts a worker by importing the script again. Without ``if __name__ == "__main__":`` that starts workers again,
which Python forbids, and the first process only sees that its workers are gone.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from ..errors import SolqueryError

__all__ = ["refuse_inside_workers", "told_of_workers"]

_ADVICE = 'put what the script does under `if __name__ == "__main__":`, since every worker imports the script'


def refuse_inside_workers() -> None:
    """Refuse to start workers in a process that is one and is still importing the script.

    Raises
    ------
    SolqueryError
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SolqueryError(f"a worker would start workers of its own; {_ADVICE}")


@contextmanager
def told_of_workers() -> Iterator[None]:
    """Workers that are gone, or never began, as an error that says what to do.

    Raises
    ------
    SolqueryError
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise SolqueryError(f"the workers ended before they were done: either memory ran out, or {_ADVICE}") from error
    except RuntimeError as error:
        if "bootstrapping" not in str(error) and "failed to start" not in str(error):
            raise
        raise SolqueryError(f"no worker can be started here; {_ADVICE}") from error
