"""How a process looks after its memory."""

import ctypes
import gc

# New objects after which Python looks for garbage in cycles. Its default of 700 is less than the
# answer to one call holds, so that a tenth of the CPU went into looking.
_NEW_OBJECTS = 20_000

# Parameters of glibc's `mallopt`. A block of a volume is half a MiB, which glibc asks of the system
# each time, and gives back, unless told otherwise: a twelfth of the CPU of copying went into that.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_MALLOC = {_TRIM_THRESHOLD: 128 * 2**20, _MMAP_THRESHOLD: 32 * 2**20, _ARENA_MAX: 1}


def settle() -> None:
    """Begin to work: what was loaded until now stays, so no garbage is looked for among it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have none
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)
