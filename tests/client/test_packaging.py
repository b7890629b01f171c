"""The client stands in two wheels, from one source: its own, and that of the server and `cap`."""

from __future__ import annotations

import re
import zipfile
from email import message_from_string
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


def built(project: Path, into: Path) -> zipfile.ZipFile:
    (wheel,) = WheelBuilder(str(project)).build(directory=str(into), versions=["standard"])
    return zipfile.ZipFile(wheel)


def files_of_client(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    names = [name for name in wheel.namelist() if name.startswith("cap_client/")]
    return {name: wheel.read(name) for name in names}


def requirements(wheel: zipfile.ZipFile) -> dict[str, str]:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    required = message_from_string(wheel.read(metadata).decode()).get_all("Requires-Dist", [])
    plain = [each for each in required if "extra ==" not in each]
    return {
        name: rest for name, rest in (re.split(r"(?=[<>=\[])", each, maxsplit=1) for each in plain)
    }


def test_both_wheels_hold_the_whole_client(tmp_path: Path) -> None:
    with (
        built(ROOT, tmp_path / "server") as server,
        built(ROOT / "clients" / "python", tmp_path / "client") as client,
    ):
        source = {
            f"cap_client/{path.name}": path.read_bytes()
            for path in (ROOT / "clients" / "python" / "cap_client").iterdir()
            if path.is_file()
        }
        assert files_of_client(server) == files_of_client(client) == source
        assert requirements(client).keys() == {"httpx", "pydantic"}
        assert requirements(client).items() <= requirements(server).items()
