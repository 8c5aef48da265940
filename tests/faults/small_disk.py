"""A small disk of its own that can be filled, freed, and made read-only."""

import os
import pathlib
import subprocess


class SmallDisk:
    """A tmpfs of so many megabytes at a directory; a context manager."""

    def __init__(self, directory, megabytes, mode="0700", owner=None):
        self.directory, self.options = pathlib.Path(directory), f"size={megabytes}m,mode={mode}"
        self.owner = owner
        self.filler = self.directory / "filler"

    def __enter__(self):
        if os.geteuid() != 0:
            raise RuntimeError("this part mounts a small disk, and only root can: run it as root")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", self.options, "tmpfs", str(self.directory))
        if self.owner:
            subprocess.run(["chown", self.owner, str(self.directory)], check=True)
        return self

    def __exit__(self, *_):
        # Lazily: a server that still runs must not keep the disk.
        subprocess.run(["umount", "-l", str(self.directory)], check=False)

    def fill(self):
        """Takes what is free, to the last block."""
        with open(self.filler, "ab", buffering=0) as filler:
            try:
                for _ in range(1_000_000):
                    filler.write(b"\0" * 4096)
            except OSError:
                return
        raise RuntimeError("the disk is too large to be filled")

    def free(self):
        self.filler.unlink()

    def make_read_only(self, read_only=True):
        self._mount("-o", "remount," + ("ro" if read_only else "rw"), str(self.directory))

    def _mount(self, *arguments):
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"mount {' '.join(arguments)} failed: {done.stderr.strip()}")
