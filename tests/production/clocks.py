"""Wall clocks of single processes that are apart from the machine's, and can be set while they run (shifted_clock.c)."""

import os
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).resolve().with_name("shifted_clock.c")


def compile_library(folder):
    """For `Clock`; needs nothing but the compiler that the program was built with."""
    library = Path(folder) / "shifted_clock.so"
    subprocess.run(["g++", "-x", "c", "-std=c17", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", str(_SOURCE), "-o", str(library)], check=True)
    return library


class Clock:
    """The clock of those processes that are started with `environment`."""

    def __init__(self, library, file, ahead_s=0):
        self.library = Path(library)
        self.file = Path(file)
        self.file.write_bytes(bytes(8))
        self.set(ahead_s)

    def set(self, ahead_s):
        """That far ahead of the machine's clock from now on."""
        self.ahead_s = ahead_s
        with self.file.open("r+b") as place:  # the same file: it is mapped
            place.write(struct.pack("=q", round(ahead_s * 1e9)))

    @property
    def environment(self):
        # Sanitizers want to be the first library otherwise.
        asan = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        return {"LD_PRELOAD": str(self.library), "SHIFTED_CLOCK": str(self.file), "ASAN_OPTIONS": asan}
