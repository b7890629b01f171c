"""The Serve app as it ships: a real refinement, replicas that grow, and nobody without a key."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.conftest import until
from tests.deploy.programs import DEPLOY
from tests.deploy.ray.conftest import BIN, Cluster, Model, working
from tests.ports import free_port
from tests.servers import is_up

WRONG = {
    "question": "What is 6 times 3, number 1?",
    "cot": "6 * 3 = 26. The answer is 26.",
    "strategy": "single",
}


@pytest.fixture
def serve(cluster: Cluster, model: Model, tmp_path: Path) -> Iterator[str]:
    """`deploy/ray/serve.yaml` at another port, growing at two requests instead of 64."""
    yaml = pytest.importorskip("yaml")
    shipped = yaml.safe_load((DEPLOY / "ray/serve.yaml").read_text("utf-8"))
    shipped["http_options"]["port"] = port = free_port()
    shipped["proxy_location"] = "HeadOnly"  # both nodes are one machine, and have its one port
    (application,) = shipped["applications"]
    application["runtime_env"]["env_vars"] |= {
        "CAP_MODEL_URL": model.url,
        "CAP_STATE_DIR": str(tmp_path / "state"),
    }
    scaling = application["deployments"][0]["autoscaling_config"]
    scaling |= {"target_ongoing_requests": 2, "max_replicas": 2, "upscale_delay_s": 1}
    configuration = tmp_path / "serve.yaml"
    configuration.write_text(yaml.safe_dump(shipped))
    log, url = tmp_path / "serve.log", f"http://127.0.0.1:{port}"
    command = [str(BIN / "serve"), "run", "--address", cluster.address, str(configuration)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ)
    try:
        until(lambda: is_up(f"{url}/ready"), within_s=180, else_say=log.read_text)
        yield url
    finally:
        process.terminate()
        process.wait(60)


async def test_a_refinement_goes_through_replicas_that_grow(
    serve: str, cluster: Cluster, model: Model
) -> None:
    async with httpx.AsyncClient(base_url=serve, timeout=240) as client:
        refinement = (await client.post("/v1/refine", json=WRONG)).json()
        assert (refinement["decision"], refinement["answer"]) == ("corrected", "18")
        assert refinement["execution"]["status"] == "ok"
        streamed = await client.post("/v1/refine", json=WRONG | {"stream": True})
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert "event: decision" in streamed.text
        model.hold_after(model.asked.total())
        asked = [asyncio.create_task(client.post("/v1/refine", json=WRONG)) for _ in range(12)]
        nodes = [cluster.head_node, *cluster.worker_nodes]
        await asyncio.to_thread(
            until,
            lambda: sum(len(working(node, "ServeReplica:cap:Server")) for node in nodes) == 2,
            within_s=180,
            else_say=lambda: "there is one replica",
        )
        model.go_on()
        came = await asyncio.gather(*asked)
    assert {(each.status_code, each.json()["answer"]) for each in came} == {(200, "18")}


async def test_without_keys_only_who_says_so_lets_others_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("ray.serve", reason="Ray is not here: make setup-ray")
    monkeypatch.syspath_prepend(str(DEPLOY / "ray"))
    monkeypatch.setenv("CAP_STATE_DIR", str(tmp_path))
    from serve_app import build

    statuses = []
    for host in (None, "127.0.0.1"):
        if host:
            monkeypatch.setenv("CAP_HOST", host)
        app = build()
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            statuses.append((await client.get("/v1/strategies")).status_code)
    sys.modules.pop("serve_app")
    assert statuses == [401, 200]
