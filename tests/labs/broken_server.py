"""A server with one of three faults that look like nothing with a browser and one client.

    python3 broken_server.py FAULT HOST PORT [FOLDER]

- no-return: a thread for each client that goes on after it has answered and closed, for ever.
- wrong-length: Content-Length counts characters, not bytes.
- shared-buffer: what has come is kept in one place for all clients.
"""
import sys
import threading

import faithful_server
from faithful_server import Client, answer, listen


def serve_without_return(connection, folder):
    """Answers, closes, and does not return: recv on a closed socket fails, and so on."""
    received = b""
    while True:
        try:
            received += connection.recv(4096)
            if received.endswith(b"\r\n"):
                connection.sendall(answer(received, folder))
                connection.close()
        except OSError:
            pass


def no_return(host, port, folder="www"):
    listener = listen(host, port)
    while True:
        connection, _ = listener.accept()
        work = serve_without_return
        threading.Thread(target=work, args=(connection, folder), daemon=True).start()


def wrong_length(*arguments):
    right = faithful_server.response

    def response(code, reason, content, *kind):
        characters = len(content.decode(errors="replace"))
        lengths = [b"Content-Length: %d" % length for length in (len(content), characters)]
        return right(code, reason, content, *kind).replace(*lengths, 1)

    faithful_server.response = response
    faithful_server.main(*arguments)


class SharingClient(Client):
    """All clients have one buffer."""

    shared = b""

    def __init__(self, connection):
        self.connection = connection
        self.unsent = b""

    @property
    def received(self):
        return SharingClient.shared

    @received.setter
    def received(self, received):
        SharingClient.shared = received


def receive_shared(client, folder):
    stays = faithful_server.receive(client, folder)
    if client.unsent:
        client.received = b""  # the request is answered; the next one may be anybody's
    return stays


def shared_buffer(host, port, folder="www"):
    faithful_server.main(host, port, folder, SharingClient, receive_shared)


if __name__ == "__main__":
    faults = {"no-return": no_return, "wrong-length": wrong_length, "shared-buffer": shared_buffer}
    faults[sys.argv[1]](*sys.argv[2:])
