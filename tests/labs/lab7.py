"""Lab 7: a load balancer that loses no request when a backend dies.

    python3 lab7.py HOST PORT BACKENDS      (BACKENDS: 9002,9003,... or 127.0.0.1:9002,...)
"""
import functools
import sys
import time

import lab6
from lab5 import Refused, listen

REST_SECONDS = 1  # so long a backend that failed is not asked again
# To do these twice has the same effect as to do them once.
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}


class Turns(lab6.Turns):
    """Whose turn it is, without those that failed a moment ago."""

    def __init__(self, backends):
        super().__init__(backends)
        self.rests_until = dict.fromkeys(backends, 0.0)

    def next(self, tried=()):
        """The next backend that has not been tried; one that rests only if all others do."""
        now = time.monotonic()
        with self.lock:
            left = [backend for backend in self.backends if backend not in tried]
            well = [backend for backend in left if self.rests_until[backend] <= now]
            backend = (well or left)[0]
            self.backends.remove(backend)
            self.backends.append(backend)
            return backend

    def failed(self, backend):
        with self.lock:
            self.rests_until[backend] = time.monotonic() + REST_SECONDS


def ask_next(turns, request, message):
    """Asks one backend after the other. Nothing has gone to the client yet, so that a failure
    is no loss; but what may have been done must not be done twice."""
    tried = []
    while len(tried) < len(turns.backends):
        backend = turns.next(tried)
        tried.append(backend)
        try:
            connection = lab6.connect(backend)
        except OSError:
            turns.failed(backend)
            continue  # it got nothing: the next one may have the request
        try:
            return lab6.ask(connection, message)
        except TimeoutError:
            turns.failed(backend)
            raise Refused(504)  # the client has waited long enough
        except (OSError, EOFError, Refused):
            turns.failed(backend)
            if request.method not in IDEMPOTENT:
                raise Refused(502)
    raise Refused(502)


def main(host, port, backends):
    turns = Turns(lab6.addresses(backends))
    listen(host, port, functools.partial(lab6.serve, turns, ask_next))


if __name__ == "__main__":
    main(*sys.argv[1:])
