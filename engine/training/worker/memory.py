"""What the C library does with memory that is freed: keeps it in the process, or gives it back to the system.
Other systems than Linux with glibc decide that by themselves."""

from __future__ import annotations

import ctypes
import gc
import platform

KEEP_BYTES, GIVE_BACK_BYTES = 1 << 30, 1 << 17
"""Freed blocks up to this size stay in the process: with the first nearly all, with the second only small ones."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed(most: int) -> None:
    """Let the process keep freed blocks of up to `most` bytes."""
    if (libc := _glibc()) is not None:
        for option, value in ((_M_MMAP_THRESHOLD, most), (_M_TRIM_THRESHOLD, most), (_M_ARENA_MAX, 1)):
            libc.mallopt(option, value)


def give_back() -> None:
    """Give what is free now back to the system."""
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc" else None
