"""Bytes to store, reproducible from a seed, and what one expects to read back of them."""

import hashlib
import os
import random

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


def noise(size, seed=0):
    """`size` incompressible bytes, the same for the same seed."""
    return random.Random(f"{seed}/{size}").randbytes(size)


def md5(data):
    """The hexadecimal MD5 of bytes."""
    return hashlib.md5(data).hexdigest()


def etag(data):
    """The ETag of an object stored in one request."""
    return f'"{md5(data)}"'


def multipart_etag(parts):
    """The ETag of an object completed from these parts."""
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f'"{digest}-{len(parts)}"'


class Stream:
    """A file-like source of `size` bytes, none of them kept: a repeated random block, stamped with its position so that
    blocks that change places are noticed."""

    BLOCK = MIB

    def __init__(self, size, seed=0):
        self.size = size
        self.position = 0
        self._block = bytearray(noise(self.BLOCK, seed))
        self._number = -1

    def block(self, number):
        """The block with this number; valid until the next call."""
        if number != self._number:
            self._block[:8] = number.to_bytes(8, "big")
            self._number = number
        return self._block

    def read(self, wanted=-1):
        """At most `wanted` bytes; none at the end."""
        left = self.size - self.position
        wanted = left if wanted is None or wanted < 0 else min(wanted, left)
        pieces = []
        while wanted:
            number, skip = divmod(self.position, self.BLOCK)
            piece = bytes(memoryview(self.block(number))[skip : skip + wanted])
            pieces.append(piece)
            self.position += len(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def seek(self, offset, whence=0):
        """Moves the position, as files do; answers the new one."""
        base = {0: 0, 1: self.position, 2: self.size}[whence]
        self.position = base + offset
        return self.position

    def tell(self):
        """The position."""
        return self.position

    def __len__(self):
        return self.size


def write_tree(root, files):
    """Writes `{relative name: bytes}` below `root`.

    The files are a minute old: S3 tells an object's age in whole seconds, so that what is uploaded in the second in which it was
    written looks older than its source, and is uploaded again by whoever compares the two."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        then = path.stat().st_mtime - 60
        os.utime(path, (then, then))


def read_tree(root):
    """The files below `root` as `{relative name: bytes}`."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
