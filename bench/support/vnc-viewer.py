#!/usr/bin/env python3
"""A VNC viewer that only measures; over a bare unix socket or a WebSocket.

usage: vnc-viewer.py raw PATH | ws HOST PORT URL-PATH ORIGIN SUBPROTOCOLS
Commands on stdin: `bulk MIB`, `echo COUNT`; answers one JSON line each.
"""
import base64, json, os, socket, struct, sys, time

BUFFER = memoryview(bytearray(1 << 20))


class Raw:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, count):
        """Reads and drops `count` bytes; returns the last few."""
        while count > 0:
            got = self.socket.recv_into(BUFFER, min(count, len(BUFFER)))
            if got == 0:
                raise EOFError
            count -= got


class WebSocket:
    def __init__(self, host, port, path, origin, protocols):
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            (
                f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nOrigin: {origin}\r\n"
                f"Sec-WebSocket-Protocol: {protocols}\r\n\r\n"
            ).encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = self.socket.recv(1)
            if not chunk:
                raise EOFError(head)
            head += chunk
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(head)
        self.pending = memoryview(b"")  # received, not yet looked at
        self.frame_left = 0

    def send(self, data):
        self.frame(0x82, data)

    def frame(self, first, data):
        mask = b"\x01\x02\x03\x04"
        body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self.socket.sendall(bytes([first, 0x80 | len(data)]) + mask + body)

    def whole(self, size):
        """The payload of a control frame or a short message."""
        if size == 126:
            raise EOFError("a long text message")
        payload = bytes(self.pending[:size])
        self.pending = self.pending[size:]
        while len(payload) < size:
            chunk = self.socket.recv(size - len(payload))
            if not chunk:
                raise EOFError
            payload += chunk
        return payload

    def more(self):
        got = self.socket.recv_into(BUFFER)
        if got == 0:
            raise EOFError
        return got

    def receive(self, count):
        while count > 0:
            if not self.pending:
                self.pending = BUFFER[: self.more()]
            if self.frame_left == 0:
                head = bytes(self.pending[:10])
                need = 2 if len(head) < 2 else {126: 4, 127: 10}.get(head[1] & 0x7F, 2)
                if len(head) < need:
                    rest = bytes(self.pending)
                    while len(rest) < need:
                        chunk = self.socket.recv(need - len(rest))
                        if not chunk:
                            raise EOFError
                        rest += chunk
                        need = {126: 4, 127: 10}.get(rest[1] & 0x7F, 2) if len(rest) > 1 else 2
                    head, self.pending = rest, memoryview(b"")
                else:
                    self.pending = self.pending[need:]
                size = head[1] & 0x7F
                if head[0] & 0x0F in (1, 9, 10):
                    # No bytes of the console: news in text, a ping, the answer to one.
                    payload = self.whole(size)
                    if head[0] & 0x0F == 9:
                        self.frame(0x8A, payload)
                    continue
                if head[0] & 0x0F not in (0, 2):
                    raise EOFError(f"frame {head[0]:x}")
                self.frame_left = (
                    struct.unpack(">H", head[2:4])[0] if size == 126
                    else struct.unpack(">Q", head[2:10])[0] if size == 127
                    else size
                )
                continue
            taken = min(count, self.frame_left, len(self.pending))
            self.pending = self.pending[taken:]
            self.frame_left -= taken
            count -= taken


link = Raw(sys.argv[2]) if sys.argv[1] == "raw" else WebSocket(*sys.argv[2:7])
link.receive(12)
link.send(b"RFB 003.008\n")
link.receive(2)
link.send(b"\x01")
link.receive(4)
link.send(b"\x01")
link.receive(24 + 5)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    verb, _, argument = line.strip().partition(" ")
    count = int(argument)
    if verb == "bulk":
        before = time.perf_counter()
        link.send(struct.pack(">BBHHHH", 3, 0, 0, 0, count, 1))
        link.receive(count << 20)
        print(json.dumps({"seconds": time.perf_counter() - before}), flush=True)
    elif verb == "echo":
        samples = []
        for number in range(count):
            before = time.perf_counter()
            link.send(struct.pack(">BBxxI", 4, number & 1, 0x61))
            link.receive(8)
            samples.append((time.perf_counter() - before) * 1e6)
        samples.sort()
        print(json.dumps({"p50": samples[count // 2], "p99": samples[count * 99 // 100]}), flush=True)
