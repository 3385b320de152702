"""Content keys: the same inputs give the same key, so a cache hit needs no trust in dates."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_KEY_LENGTH = 16


def text_key(*parts: str) -> str:
    """A key of 16 hexadecimal digits for these strings, sensitive to where one ends."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:_KEY_LENGTH]


def files_key(files: Iterable[tuple[str, Path]]) -> str:
    """A key for files under the names they go by: name, executable bit and bytes count."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        is_executable = bool(path.stat().st_mode & 0o100)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{name}\0{is_executable}\0{content}\n".encode())
    return digest.hexdigest()[:_KEY_LENGTH]
