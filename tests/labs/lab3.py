"""Lab 3: many clients at once, a thread for each.

    python3 lab3.py HOST PORT [FOLDER]
"""
import mimetypes
import pathlib
import socket
import sys
import threading

PAGES = {"/": b"Halo, dunia!\n"}


def read_pages(folder):
    """Only what is read here, before any client comes, can be asked for."""
    for file in pathlib.Path(folder).iterdir():
        if file.is_file():
            PAGES["/" + file.name] = file.read_bytes()


def keeps_open(head):
    """Whether the connection stays open behind the answer."""
    line, *fields = head.lower().split(b"\r\n")
    if not line.startswith((b"get ", b"head ")) or not line.endswith(b" http/1.1"):
        return False
    # Content is read in lab 4. Here it must not be taken for the next request.
    ends = (b"connection: close", b"content-length:", b"transfer-encoding:")
    return not any(field.startswith(ends) for field in fields)


def answer(head):
    """The answer to a request with this head, as bytes."""
    method, target, _ = (head.decode("latin-1").split("\r\n")[0] + "  ").split(" ", 2)
    status = "200 OK" if target in PAGES else "404 Not Found"
    content = PAGES.get(target, b"There is nothing here.\n")
    if method not in ("GET", "HEAD"):
        status, content = "501 Not Implemented", b"Only GET and HEAD.\n"
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {mimetypes.guess_type(target)[0] or 'text/plain'}",
        f"Content-Length: {len(content)}",
        "Connection: " + ("keep-alive" if keeps_open(head) else "close"),
    ]
    first = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return first if method == "HEAD" else first + content


def serve(client):
    """All requests of one client."""
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            more = client.recv(65536)
            if not more:
                return
            buffer += more
        # What stands behind the empty line belongs to the next request.
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        client.sendall(answer(head))
        if not keeps_open(head):
            return


def run(client):
    """One client from the first byte to the last. Its thread ends with this function."""
    with client:
        try:
            serve(client)
        except OSError:
            pass  # this client is gone; the others are not


def main(host, port, folder="www"):
    read_pages(folder)
    listener = socket.create_server((host, int(port)), backlog=128)
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=run, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
