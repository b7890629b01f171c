"""How a light process hands its program over to a heavy one. Runs inside the light process.

The parent judges programs by their text, and text can say `import sympy` in ways that it does not
see. Nothing that a program does comes out of its process before it ends, so one that ends here
can begin again elsewhere, and nobody sees a difference.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from cap_sandbox.jail import LINK
from cap_sandbox.protocol import HANDED_OVER


def leave() -> NoReturn:
    """End this process, and have the parent run its program where there are all modules."""
    os.write(LINK, HANDED_OVER)
    os._exit(0)


class _Missing:
    """Is asked for what is not loaded."""

    def find_spec(self, name: str, path: object, target: object = None) -> NoReturn:
        # Not an exception: a program might catch it, and go on without the module.
        leave()


def at_missing_modules() -> None:
    """From now on, have this process's children leave when a module is wanted that is not here."""
    sys.meta_path.insert(0, _Missing())
