"""One question to a DNS server, to know that it serves; the standard library has no resolver."""

import socket
import struct

_QUERY_ID = 0x5A5A
_TYPE_A, _CLASS_IN, _RECURSION_DESIRED = 1, 1, 0x0100
TIMEOUT_SECONDS = 1.0


def query(name: str) -> bytes:
    """The packet that asks for the IPv4 addresses of `name`."""
    labels = b"".join(
        bytes([len(label)]) + label.encode("ascii") for label in name.rstrip(".").split(".")
    )
    header = struct.pack(">HHHHHH", _QUERY_ID, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">HH", _TYPE_A, _CLASS_IN)


def has_answer(packet: bytes) -> bool:
    """Whether the packet answers our question with at least one record."""
    if len(packet) < 12:
        return False
    identity, flags, _, answers = struct.unpack(">HHHH", packet[:8])
    return bool(identity == _QUERY_ID and flags & 0x000F == 0 and answers > 0)


def resolves(server: str, name: str, *, port: int = 53) -> bool:
    """Whether the server answers for this name within a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(TIMEOUT_SECONDS)
        try:
            link.sendto(query(name), (server, port))
            return has_answer(link.recv(4096))
        except OSError:
            return False
