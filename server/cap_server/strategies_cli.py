"""`cap strategies`: what a server offers, and with which parameters."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cap_client import Strategies, StrategyDescription
from cap_server.cli_client import WRONG_USAGE, client_of, fail, failures_told
from cap_server.cli_options import ApiKey, AsJson, StrategyName, Url, settings_of

_out = Console()


def strategies_(
    name: StrategyName = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List the strategies that a running server offers."""
    with client_of(url, api_key, settings_of()) as client, failures_told(client.base_url):
        offered = client.strategies()
    found = [each for each in offered.data if name in (None, each.name)]
    if not found:
        names = ", ".join(each.name for each in offered.data)
        fail(f"There is no strategy {name}; there are {names}.", code=WRONG_USAGE)
    if as_json:
        shown = offered if name is None else found[0]
        sys.stdout.write(json.dumps(shown.model_dump(mode="json"), indent=2) + "\n")
    elif name is None:
        _out.print(_list(offered))
    else:
        _show(found[0])


def _list(offered: Strategies) -> Table:
    table = Table(box=None, header_style="bold", caption="cap strategies NAME tells parameters")
    table.add_column("strategy", no_wrap=True)
    table.add_column("when to use it", overflow="fold")
    for each in offered.data:
        default = " (default)" if each.name == offered.default else ""
        table.add_row(each.name + default, escape(each.when))
    return table


def _show(strategy: StrategyDescription) -> None:
    _out.print(f"[bold]{escape(strategy.name)}[/]  {escape(strategy.summary)}")
    _out.print(f"When: {escape(strategy.when)}")
    _out.print(f"Source: {escape(strategy.source)}\n")
    table = Table("parameter", "default", "allowed", "meaning", box=None, header_style="bold")
    for name, schema in strategy.parameters.items():
        meaning = schema.get("description", "")
        table.add_row(
            *map(escape, (name, json.dumps(schema.get("default")), _range(schema), meaning))
        )
    _out.print(table if strategy.parameters else "It has no parameters.")


def _range(schema: dict[str, Any]) -> str:
    """What values a parameter's schema allows, in a few characters."""
    if choices := [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]:
        return _range(choices[0])
    if "enum" in schema:
        return " ".join(map(str, schema["enum"]))
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    return str(schema.get("type", "")) if low is None and high is None else f"{low} to {high}"
