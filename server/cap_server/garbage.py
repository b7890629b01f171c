"""The collector of cycles, kept away from what stays for good."""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 5_000


def settle() -> None:
    """Leave out of every collection what there is now; called once the server is complete.

    Some hundred thousand objects, modules and routes above all, live as long as the process. A full
    collection looks at each of them, while nobody is served: 50 ms and more, again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)  # CPython's own, 700, is less than one request makes
