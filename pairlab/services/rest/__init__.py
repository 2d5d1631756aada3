"""The analytics over REST and a WebSocket, on the lab's own loop.

::

    server        uvicorn on the lab's loop: from `PairLab.serve` to the lab's end
    rest_api      the application: every path, what it takes and answers
    stream        the WebSocket: rows and alerts as they come
    security      checks before any path: host, origin, rate, token, size
    scheduler     spacing of requests, so that ticks are processed between them
    serializers   rows, alerts and health as JSON and CSV, in pieces that do not block the loop
    openapi       the OpenAPI schema and its offline page
    models        response models, field by field, with units
"""
