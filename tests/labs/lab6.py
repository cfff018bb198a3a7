"""Lab 6: a load balancer. Each request goes to the next backend, on a connection of its own, without
the fields that speak of the client's connection.

    python3 lab6.py HOST PORT BACKENDS      (BACKENDS: 9002,9003,... or 127.0.0.1:9002,...)
"""
import functools
import re
import socket
import sys
import threading

from lab5 import IDLE_SECONDS, REQUEST_SECONDS, STATUS, WRITE_SECONDS
from lab5 import Message, Reader, Refused, Request, content_of, listen, response

CONNECT_SECONDS = 1
ANSWER_SECONDS = 5  # until an answer begins, and between two pieces of it
STATUS |= {502: "Bad Gateway", 504: "Gateway Timeout"}
STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])( [\t -~\x80-\xff]*)?")
# These speak of one connection. The next connection has its own.
HOP_BY_HOP = set("connection keep-alive proxy-connection te trailer upgrade expect".split())
FRAMING = {"content-length", "transfer-encoding"}


class Turns:
    """Whose turn it is. All threads ask the same one."""

    def __init__(self, backends):
        self.backends = backends
        self.lock = threading.Lock()

    def next(self):
        with self.lock:
            backend = self.backends.pop(0)
            self.backends.append(backend)
            return backend


class Response(Message):
    def __init__(self, reader):
        parts = STATUS_LINE.fullmatch(reader.line())
        if not parts:
            raise Refused(502)
        self.is_old, self.status = parts[1] == b"0", int(parts[2])
        self.reason = (parts[3] or b"").strip().decode("latin-1")
        self.fields = reader.fields()


def end_to_end(message, *dropped):
    """The fields that are meant for the whole way, without those that we write ourselves."""
    named = set(message.words("connection")) - {"host"}
    dropped = HOP_BY_HOP | FRAMING | named | set(dropped)
    return [(name, value) for name, value in message.fields if name.lower() not in dropped]


def head_of(line, fields):
    lines = [line] + [f"{name}: {value}" for name, value in fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def forwarded(request, content, address):
    """The request as the backend gets it."""
    addresses = request.values("x-forwarded-for") + [address]
    fields = end_to_end(request, "x-forwarded-for")
    fields += [("X-Forwarded-For", ", ".join(addresses)), ("Via", "1.1 lab"), ("Connection", "close")]
    if not request.values("host"):
        fields.append(("Host", "lab"))
    if request.length() is not None:
        fields.append(("Content-Length", len(content)))
    return head_of(f"{request.method} {request.target} HTTP/1.1", fields) + content


def connect(backend):
    return socket.create_connection(backend, CONNECT_SECONDS)


def ask(connection, message):
    """Sends a request to a backend. Returns the answer, and the reader of its content."""
    try:
        connection.settimeout(ANSWER_SECONDS)
        connection.sendall(message)
        reader = Reader(connection)
        reader.within(ANSWER_SECONDS)
        answer = Response(reader)
        while answer.status < 200:  # 100 Continue and its like are not the answer
            answer = Response(reader)
        answer.length()
        return answer, reader
    except BaseException:
        connection.close()
        raise


def ask_next(turns, request, message):
    """Asks the backend whose turn it is. Refused says what the client gets instead."""
    try:
        return ask(connect(turns.next()), message)
    except TimeoutError:
        raise Refused(504)
    except (OSError, EOFError, Refused):
        raise Refused(502)


def content_from(reader, length):
    """The content of an answer, piece by piece."""
    if length is not None:
        yield from reader.content(length)
        return
    try:
        while True:  # it ends when the backend closes
            if reader.buffer:
                yield reader.buffer
                reader.buffer = b""
            reader.fill()
    except EOFError:
        pass


def relay(client, request, answer, reader):
    """Sends the answer to the client. Returns whether the connection can stay open."""
    length = answer.length()
    has_content = request.method != "HEAD" and answer.status not in (204, 304)
    as_chunks = has_content and not isinstance(length, int) and not request.is_old
    keep = request.keeps_open() and (as_chunks or isinstance(length, int) or not has_content)
    fields = end_to_end(answer) + [("Via", "1.1 lab")]
    fields.append(("Connection", "keep-alive" if keep else "close"))
    if as_chunks:
        fields.append(("Transfer-Encoding", "chunked"))
    elif isinstance(length, int):
        fields.append(("Content-Length", length))
    client.settimeout(WRITE_SECONDS)
    client.sendall(head_of(f"HTTP/1.1 {answer.status} {answer.reason}", fields))
    if not has_content:
        return keep
    for piece in content_from(reader, length):
        client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if as_chunks else piece)
        reader.within(ANSWER_SECONDS)
    if as_chunks:
        client.sendall(b"0\r\n\r\n")
    return keep


def serve(turns, ask_next, client):
    """All requests of one client. Each has its own backend."""
    reader, keep = Reader(client), True
    while keep:
        if not reader.buffer:
            reader.within(IDLE_SECONDS)
            reader.fill()
        reader.within(REQUEST_SECONDS)
        try:
            request = Request(reader)
            message = forwarded(request, content_of(request, reader), client.getpeername()[0])
            answer, behind = ask_next(turns, request, message)
        except (Refused, TimeoutError) as why:
            status = why.args[0] if isinstance(why, Refused) else 408
            client.settimeout(WRITE_SECONDS)
            client.sendall(b"".join(response(status, b"")))
            return
        with behind.connection:
            keep = relay(client, request, answer, behind)


def addresses(text):
    """`9002,127.0.0.1:9003` as pairs of host and port."""
    parts = [word.rpartition(":") for word in text.split(",")]
    return [(host or "127.0.0.1", int(port)) for host, _, port in parts]


def main(host, port, backends):
    turns = Turns(addresses(backends))
    listen(host, port, functools.partial(serve, turns, ask_next))


if __name__ == "__main__":
    main(*sys.argv[1:])
