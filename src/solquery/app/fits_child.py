"""Decodes one FITS file in a process of its own: one line of JSON on stdout, then the field as .npy."""

from __future__ import annotations

import io
import json
import sys

_MEMORY_BYTES = 2 * 2**30
_CPU_SECONDS = 30


def main(path: str) -> None:
    """Read the file at `path` and write what it holds, or the reason why it cannot be read, to stdout."""
    import numpy as np

    from ..sharp.fits import UnreadableFits, read_sharp
    from .uploads import document_of

    try:
        import resource
    except ImportError:  # not on Windows; there the limits on what headers declare have to do
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout.buffer
    try:
        patch = read_sharp(path, strict_quality=False)
    except UnreadableFits as error:
        out.write(json.dumps({"error": " ".join(str(error).split())}).encode() + b"\n")
        return
    # written from memory: numpy asks a file where it stands, which a buffered pipe cannot tell
    field = io.BytesIO()
    np.save(field, np.asarray(patch.field, dtype=np.float32), allow_pickle=False)
    out.write(json.dumps(document_of(patch), allow_nan=False).encode() + b"\n")
    out.write(field.getbuffer())


if __name__ == "__main__":
    main(sys.argv[1])
