"""Lab 1: answer one request, close, take the next client.

    python3 lab1.py HOST PORT [FOLDER]
"""
import mimetypes
import pathlib
import socket
import sys

PAGES = {"/": b"Halo, dunia!\n"}


def read_pages(folder):
    """Only what is read here, before any client comes, can be asked for."""
    for file in pathlib.Path(folder).iterdir():
        if file.is_file():
            PAGES["/" + file.name] = file.read_bytes()


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
        "Connection: close",
    ]
    first = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return first if method == "HEAD" else first + content


def serve(client):
    """One request of one client."""
    head = client.recv(65536)
    if head:
        client.sendall(answer(head))


def main(host, port, folder="www"):
    read_pages(folder)
    listener = socket.create_server((host, int(port)), backlog=128)
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            try:
                serve(client)
            except OSError:
                pass  # this client is gone; the next one is not


if __name__ == "__main__":
    main(*sys.argv[1:])
