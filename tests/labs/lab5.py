"""Lab 5: clients that hurt: slow ones, greedy ones, and those that vanish.

    python3 lab5.py HOST PORT [FOLDER]
"""
import mimetypes
import pathlib
import re
import socket
import sys
import threading
import time

PAGES = {"/": b"Halo, dunia!\n"}
STATUS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
MAX_LINE = 8 * 1024
MAX_HEAD = 16 * 1024
MAX_CONTENT = 1024 * 1024
MAX_CLIENTS = 1000
IDLE_SECONDS = 10  # between two requests
REQUEST_SECONDS = 5  # from the first byte of a request to its last
WRITE_SECONDS = 10  # for an answer as a whole

TEXT = "text/plain; charset=utf-8"
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/([0-9])\.([0-9])")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})([ \t]*;[\t -~\x80-\xff]*)?")


class Refused(Exception):
    """What came is no request that we take. Its argument: the status to answer."""


class Reader:
    """The bytes of one connection, by lines and by counts."""

    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""
        self.deadline = 0.0

    def within(self, seconds):
        """What is read from now on must be here by then. No byte renews the time."""
        self.deadline = time.monotonic() + seconds

    def fill(self):
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        more = self.connection.recv(65536)
        if not more:
            raise EOFError
        self.buffer += more

    def line(self, limit=MAX_LINE):
        """The next line, without its CR LF."""
        while b"\n" not in self.buffer and len(self.buffer) <= limit:
            self.fill()
        line, _, rest = self.buffer.partition(b"\n")
        if len(line) > limit:
            raise Refused(431)
        if not line.endswith(b"\r"):
            raise Refused(400)
        self.buffer = rest
        return line[:-1]

    def fields(self):
        """Field lines up to the empty line, as pairs of name and value."""
        fields, room = [], MAX_HEAD
        while line := self.line(min(room, MAX_LINE)):
            room -= len(line)
            parts = FIELD.fullmatch(line)
            if not parts:
                raise Refused(400)
            fields.append((parts[1].decode(), parts[2].decode("latin-1")))
        return fields

    def content(self, length):
        """The content, piece by piece as it comes; `length` is what Message.length says."""
        if length == "chunked":
            while size := self.chunk_size():
                yield from self.content(size)
                if self.line():
                    raise Refused(400)  # the chunk is longer than its size
            self.fields()  # trailers
            return
        while length:
            if not self.buffer:
                self.fill()
            piece, self.buffer = self.buffer[:length], self.buffer[length:]
            length -= len(piece)
            yield piece

    def chunk_size(self):
        parts = CHUNK_SIZE.fullmatch(self.line())
        if not parts:
            raise Refused(400)
        return int(parts[1], 16)


class Message:
    """The fields of a request or a response, and what they say of the message itself."""

    def values(self, name):
        return [value for known, value in self.fields if known.lower() == name]

    def words(self, name):
        """The members of a list, which may stand in several fields."""
        words = ",".join(self.values(name)).lower().split(",")
        return [word.strip() for word in words if word.strip()]

    def keeps_open(self):
        if "close" in self.words("connection"):
            return False
        return not self.is_old or "keep-alive" in self.words("connection")

    def length(self):
        """How long the content is: a number, "chunked", or None when no field says it."""
        lengths = self.values("content-length")
        if self.values("transfer-encoding"):
            # Two ways to find the end are one too many: two programs may find two ends.
            if lengths or self.is_old:
                raise Refused(400)
            if self.words("transfer-encoding") != ["chunked"]:
                raise Refused(501)
            return "chunked"
        if not lengths:
            return None
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0], re.ASCII):
            raise Refused(400)
        return int(lengths[0])


class Request(Message):
    def __init__(self, reader):
        # Some clients send an empty line too many behind the content before.
        line = reader.line() or reader.line()
        parts = REQUEST_LINE.fullmatch(line)
        if not parts:
            raise Refused(400)
        if parts[3] != b"1":
            raise Refused(505)
        self.method, self.target = parts[1].decode(), parts[2].decode()
        self.is_old = parts[4] == b"0"
        self.fields = reader.fields()
        hosts = len(self.values("host"))
        if hosts > 1 or hosts == 0 and not self.is_old:
            raise Refused(400)


def read_pages(folder):
    """Only what is read here, before any client comes, can be asked for."""
    for file in pathlib.Path(folder).iterdir():
        if file.is_file():
            PAGES["/" + file.name] = file.read_bytes()


def content_of(request, reader):
    """The content as a whole. The byte behind it belongs to the next request."""
    length = request.length() or 0
    if length != "chunked" and length > MAX_CONTENT:
        raise Refused(413)
    if length and "100-continue" in request.words("expect") and not request.is_old:
        reader.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    content = b""
    for piece in reader.content(length):
        content += piece
        if len(content) > MAX_CONTENT:
            raise Refused(413)
    return content


def answer(request, content):
    """What this server says: status, content, and its type."""
    path = re.sub("^http://[^/?]*", "", request.target).split("?")[0] or "/"
    if path == "/echo":
        return 200, content, "application/octet-stream"
    if request.method not in ("GET", "HEAD"):
        return 501, b"Only GET and HEAD, but for /echo.\n", TEXT
    if path in PAGES:
        return 200, PAGES[path], mimetypes.guess_type(path)[0] or TEXT
    return 404, b"There is nothing here.\n", TEXT


def response(status, content, kind=TEXT, keep=False):
    """Head and content, as bytes."""
    lines = [
        f"HTTP/1.1 {status} {STATUS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        "Connection: " + ("keep-alive" if keep else "close"),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n", content


def serve(client):
    """All requests of one client."""
    reader = Reader(client)
    keep = True
    while keep:
        if not reader.buffer:
            reader.within(IDLE_SECONDS)
            reader.fill()
        reader.within(REQUEST_SECONDS)
        keep, to_head = False, False
        try:
            request = Request(reader)
            status, content, kind = answer(request, content_of(request, reader))
            keep, to_head = request.keeps_open(), request.method == "HEAD"
        except Refused as why:
            # Nobody knows where the next request would begin, so this connection ends.
            status, content, kind = why.args[0], b"Refused.\n", TEXT
        except TimeoutError:
            status, content, kind = 408, b"Too slow.\n", TEXT
        head, content = response(status, content, kind, keep)
        client.settimeout(WRITE_SECONDS)
        client.sendall(head if to_head else head + content)


def linger(client):
    """Ends our half, and reads what still comes: to close a socket with unread bytes sends a
    reset, and a reset destroys the answer on its way."""
    client.shutdown(socket.SHUT_WR)
    reader = Reader(client)
    reader.within(1)
    while True:
        reader.fill()
        reader.buffer = b""


def run(client, serve):
    """One client from the first byte to the last. Its thread ends with this function."""
    with client:
        try:
            serve(client)
            linger(client)
        except (OSError, EOFError):
            pass  # this client is gone, or too slow; the others are not


def listen(host, port, serve):
    listener = socket.create_server((host, int(port)), backlog=128)
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            time.sleep(0.01)  # no descriptor is left, until some client goes
            continue
        if threading.active_count() > MAX_CLIENTS:
            client.sendall(b"".join(response(503, b"Too many clients.\n")))
            client.close()
            continue
        threading.Thread(target=run, args=(client, serve), daemon=True).start()


def main(host, port, folder="www"):
    read_pages(folder)
    listen(host, port, serve)


if __name__ == "__main__":
    main(*sys.argv[1:])
