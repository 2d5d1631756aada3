"""The analytics over REST and a WebSocket, on the lab's own event loop.

::

    server        uvicorn on the lab's loop, from `PairLab.serve` until the lab stops
    rest_api      the application: every path, its parameters and responses
    stream        the WebSocket: rows and alerts as they arrive
    security      checks before any path: host, origin, rate limit, token, body size
    scheduler     limits on REST work between two ticks
    serializers   rows, alerts and health as JSON and CSV, in pieces that do not block the loop
    openapi       the OpenAPI schema and an offline Swagger page
    models        response models, field by field, with units
"""
