"""The images' bills of materials name what the Dockerfiles install, and pass CycloneDX's schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sbom

from tests.deploy.programs import ROOT, program


@pytest.mark.parametrize("image", sbom.IMAGES)
def test_a_bill_names_every_distribution_in_its_pinned_version(image: str, tmp_path: Path) -> None:
    file = tmp_path / "bill.json"
    sbom.write(image, file, tool=Path(program("cyclonedx-py")))
    bill = json.loads(file.read_text())
    assert bill["metadata"]["component"]["name"] == "cap-refine"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.lower().replace("_", "-") for line in lines}
    named = {f"{each['name']}=={each['version']}" for each in bill["components"]}
    assert named <= pinned
    assert named


def test_each_image_has_what_it_needs_and_the_sandbox_no_more() -> None:
    assert set(sbom.installed(sbom.IMAGES["sandbox"])) == {
        "h11", "mpmath", "numpy", "restrictedpython", "sympy",
    }  # fmt: skip
    server = set(sbom.installed(sbom.IMAGES["server"]))
    assert {"aiohttp", "yarl", "fastapi", "starlette", "psycopg", "opentelemetry-sdk"} <= server
    assert not {"pytest", "mypy", "ray", "torch"} & server
