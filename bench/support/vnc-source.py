#!/usr/bin/env python3
"""A scripted VNC server on a unix socket for the proxy rows: the RFB 3.8 handshake, then

- a FramebufferUpdateRequest whose width field is N sends N MiB of bytes as fast as they are taken,
- a KeyEvent is echoed byte for byte.
"""
import os, socket, struct, sys, threading

BLOCK = bytes(1 << 20)


def exactly(connection, count):
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def serve(connection):
    try:
        connection.sendall(b"RFB 003.008\n")
        exactly(connection, 12)
        connection.sendall(b"\x01\x01")
        exactly(connection, 1)
        connection.sendall(b"\x00\x00\x00\x00")
        exactly(connection, 1)
        name = b"bench"
        pixel = struct.pack(">BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
        connection.sendall(struct.pack(">HH", 640, 480) + pixel + struct.pack(">I", len(name)) + name)
        while True:
            kind = exactly(connection, 1)[0]
            if kind == 3:
                (_, _, _, mebibytes, _) = struct.unpack(">BHHHH", exactly(connection, 9))
                for _ in range(mebibytes):
                    connection.sendall(BLOCK)
            elif kind == 4:
                connection.sendall(bytes([4]) + exactly(connection, 7))
            else:
                raise ValueError(kind)
    except (EOFError, ConnectionError, ValueError):
        pass
    finally:
        connection.close()


path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o777)
listener.listen(64)
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
