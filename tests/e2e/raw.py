"""A WebSocket without a library: for frames that no library would send, and for not reading."""

import base64
import os
import socket
import struct


class Raw:
    """A connection whose every byte is the test's own."""

    def __init__(self, port, receive_buffer=None, timeout=10, headers=""):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"{headers}\r\n".encode()
        )
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self._more()
        self.response, self.buffer = self.buffer.split(b"\r\n\r\n", 1)

    @property
    def status(self):
        return int(self.response.split()[1])

    def _more(self):
        more = self.socket.recv(65536)
        if not more:
            raise EOFError
        return more

    def _take(self, count):
        while len(self.buffer) < count:
            self.buffer += self._more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, opcode, payload=b"", fin=True, masked=True, reserved=0):
        """One frame, as right or wrong as it is asked for."""
        head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
        mask_bit = 0x80 if masked else 0
        if len(payload) < 126:
            head += bytes([mask_bit | len(payload)])
        elif len(payload) < 65536:
            head += bytes([mask_bit | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([mask_bit | 127]) + struct.pack(">Q", len(payload))
        mask = os.urandom(4) if masked else b""
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if masked else payload
        self.socket.sendall(head + mask + body)

    def text(self, text):
        self.send(1, text.encode())

    def pieces(self):
        """The payloads of the next message's frames, and the message."""
        pieces = [self._piece()]
        while not pieces[-1][2]:
            pieces.append(self._piece())
        payloads = [payload for _, payload, _ in pieces]
        return payloads, b"".join(payloads)

    def frame(self):
        """(opcode, payload) of the next message; a long one comes in pieces."""
        opcode, payload, is_last = self._piece()
        while not is_last:
            _, more, is_last = self._piece()
            payload += more
        return opcode, payload

    def _piece(self):
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        return first & 0x0F, self._take(length), first & 0x80 != 0

    def close_code(self):
        """Reads on until the server closes; with which code (None: without a word)."""
        try:
            while True:
                opcode, payload = self.frame()
                if opcode == 8:
                    return struct.unpack(">H", payload[:2])[0] if payload else None
        except (EOFError, ConnectionResetError):
            return None

    def close(self):
        self.socket.close()
