import selectors, socket, sys

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nsantai saja\n"
selector = selectors.DefaultSelector()

def accept(listener):
    client, _ = listener.accept()
    client.setblocking(False)
    selector.register(client, selectors.EVENT_READ, bytearray())
    print("client", client.fileno(), "comes", flush=True)

def read(client, received):
    try:
        piece = client.recv(4096)
        received += piece
        if piece and not received.endswith(b"\r\n\r\n"):
            return                    # not all here yet: serve the others
        if piece:
            client.send(ANSWER)
    except BlockingIOError:
        return                        # the selector was wrong: nothing to read
    except OSError as error:          # this client is lost, the others are not
        print("client", client.fileno(), error)
    print("client", client.fileno(), "leaves", flush=True)
    selector.unregister(client)
    client.close()

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
selector.register(listener, selectors.EVENT_READ)
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            accept(listener)
        else:
            read(key.fileobj, key.data)
