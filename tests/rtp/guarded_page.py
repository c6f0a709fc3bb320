"""Memory with an inaccessible page behind it: a native function that goes past the end dies."""

import ctypes
import mmap

PAGE = mmap.PAGESIZE
PROT_NONE = 0  # not in the mmap module


class GuardedPage:
    """A page of memory with an inaccessible one behind it."""

    def __init__(self) -> None:
        self._pages = mmap.mmap(-1, 2 * PAGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        libc = ctypes.CDLL(None, use_errno=True)
        guard = ctypes.c_void_p(address + PAGE)
        assert libc.mprotect(guard, ctypes.c_size_t(PAGE), PROT_NONE) == 0

    def place(self, data: bytes) -> memoryview:
        """The same bytes, ending at the end of the page; valid until the next call."""
        assert len(data) <= PAGE
        self._pages[PAGE - len(data) : PAGE] = data
        return memoryview(self._pages)[PAGE - len(data) : PAGE]
