"""Requests made from the server's own schema, against the real server, sandbox and vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

from cap_server.app import create_app
from cap_server.settings import Settings
from tests.e2e.live import live

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

_KEY = "a-key"

schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())


@pytest.fixture(scope="module")
def guarded(engine_url: str) -> Iterator[str]:
    """The root of a server that wants a key: the schema says that it may."""
    settings = {"model_url": engine_url, "api_keys": _KEY}
    with live(create_app(Settings.model_validate(settings))) as url:
        yield url


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@schema.parametrize()
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_request_is_answered_as_the_schema_says(
    case: schemathesis.Case[Any], guarded: str, session: requests.Session
) -> None:
    # 503 and 504 are honest: a critic that is not there, a deadline of 10 ms.
    response = case.call_and_validate(
        base_url=guarded,
        session=session,
        headers={"Authorization": f"Bearer {_KEY}"},
        timeout=60,
        excluded_checks=[not_a_server_error],
    )
    assert response.status_code < 500 or response.status_code in (503, 504)
