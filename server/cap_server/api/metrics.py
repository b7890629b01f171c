"""`GET /metrics`: what Prometheus reads. It holds numbers alone, nothing that users sent."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from cap_server.api.house import InHouse

router = APIRouter(tags=["operations"])


@router.get("/metrics", response_class=Response)
async def metrics(house: InHouse) -> Response:
    """This replica's metrics, in Prometheus' text format."""
    return Response(house.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
