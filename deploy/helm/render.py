"""Lints the chart and prints what it renders to, as `helm lint` and `helm template` do.

    .deploy/bin/python deploy/helm/render.py [VALUES.yaml]

With --check it also validates every manifest strictly, and prints what is wrong instead.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import yaml

CHART = Path(__file__).parent / "cap"
OF_THE_OPERATOR = ("ServiceMonitor", "PrometheusRule")
"""Kinds of the Prometheus operator, whose schemas Kubernetes does not know."""

KUBERNETES = ("1.30", "1.34")


def findings(values: dict[str, Any]) -> Iterator[str]:
    """What the linter says, but for what it says of every chart without an icon."""
    report = helm_python.lint(CHART, values, strict=True)
    for message in report["messages"]:
        if "icon is recommended" not in message["error"]:
            yield f"{message['path']}: {message['error']}"


def rendered(values: dict[str, Any]) -> dict[str, str]:
    """The manifests by their template's path."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values))
        return dict(chart.render(values, name="cap", namespace="cap"))


def faults(text: str) -> Iterator[str]:
    """What Kubernetes would not take of the manifests in `text`."""
    for manifest in filter(None, yaml.safe_load_all(text)):
        if manifest["kind"] in OF_THE_OPERATOR:
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except (
                kubernetes_validate.ValidationError,
                kubernetes_validate.SchemaNotFoundError,
                kubernetes_validate.InvalidSchemaError,
            ) as error:
                yield f"{manifest['kind']} {manifest['metadata']['name']}, {version}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("values", nargs="?", type=Path)
    parser.add_argument("--check", action="store_true", help="validate, print no manifests")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    values = yaml.safe_load(asked.values.read_text("utf-8")) if asked.values else {}
    try:
        manifests = rendered(values)
    except helm_python.HelmError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    texts = [text for path, text in sorted(manifests.items()) if path.endswith(".yaml")]
    wrong = list(findings(values))
    if asked.check:
        wrong += [fault for text in texts for fault in faults(text)]
    else:
        sys.stdout.write("---\n".join(text.strip() + "\n" for text in texts if text.strip()))
    for each in wrong:
        sys.stderr.write(f"{each}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
