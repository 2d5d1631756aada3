"""Who else is served: the analytics over REST, on the lab's own loop (extra ``api``).

::

    server        uvicorn on the lab's loop: from `PairLab.serve` to the lab's end
    rest_api      the app: every path, what it takes and answers
    stream        the WebSocket: rows and alerts as they come
    security      what is asked before any path: host, origin, rate, token, size
    pace          room for ticks between requests
    records       rows, alerts and health as JSON and CSV, in pieces that never slow the loop
    docs          the OpenAPI schema, and its page without the internet
    models        what a client reads, field by field, with units
"""

__all__: list[str] = []
