"""Images are built once for all tests of a run, and only where one asks for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.deploy.containers import IMAGES, Podman, build
from tests.deploy.containers import podman as opened

ASKED = os.environ.get("CAP_TEST_DEPLOY") == "1"


def until(condition: Callable[[], object], *, within_s: float, else_say: Callable[[], str]) -> None:
    """Return once `condition` holds; fails with what `else_say` tells."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, else_say()
        time.sleep(0.2)


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    if not ASKED:
        pytest.skip("`make test-deploy` runs this: it builds images")
    return opened(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="session")
def images(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The tag of every image that can be built without a GPU's own base."""
    folder: Path = tmp_path_factory.mktemp("images")
    return {name: build(podman, name, folder) for name in IMAGES}
