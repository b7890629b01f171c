"""The HTTP side. Routes translate between wire models and the domain, and nothing else."""

from cap_server.api import (
    batch,
    chat,
    execute,
    metrics,
    models,
    operations,
    playground,
    refine,
    responses,
    sources,
    strategies,
)

routers = (
    refine.router,
    batch.router,
    chat.router,
    responses.router,
    models.router,
    execute.router,
    strategies.router,
    sources.router,
    operations.router,
    metrics.router,
    playground.router,
)
