"""A load balancer in the manner of the assignment: a backend for each connection, and bytes are
copied as they come.

    python3 faithful_lb.py HOST PORT BACKENDS      (BACKENDS: 9002,9003,... or 127.0.0.1:9002,...)

It does not know HTTP, has no timeouts, and tries no second backend.
"""
import itertools
import select
import socket
import sys

from faithful_server import listen


def addresses(text):
    """`9002,127.0.0.1:9003` as pairs of host and port."""
    parts = [word.rpartition(":") for word in text.split(",")]
    return [(host or "127.0.0.1", int(port)) for host, _, port in parts]


def copy(source, other_of):
    """Copies one piece. Returns whether both connections stay."""
    piece = source.recv(8192)
    other_of[source].sendall(piece)
    return bool(piece)


def main(host, port, backends):
    listener, turns = listen(host, port), itertools.cycle(addresses(backends))
    other_of = {}
    while True:
        readable, _, _ = select.select([listener] + list(other_of), [], [])
        if listener in readable:
            readable.remove(listener)
            client, _ = listener.accept()
            try:
                backend = socket.create_connection(next(turns))
                other_of[client], other_of[backend] = backend, client
            except OSError:
                client.close()
        for source in readable:
            if source not in other_of:
                continue  # its other half has just ended both
            try:
                stays = copy(source, other_of)
            except OSError:
                stays = False
            if not stays:
                other = other_of.pop(source)
                del other_of[other]
                source.close()
                other.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
