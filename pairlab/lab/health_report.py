"""How feed, engine and loop of a lab are, from those who know."""

from __future__ import annotations

from pairlab.feeds.base import FeedHealth, FeedInfo
from pairlab.health import Health
from pairlab.lab.load_meter import LoadMeter
from pairlab.lab.pipeline import Pipeline

__all__ = ["health_report"]


def health_report(
    info: FeedInfo,
    feed: FeedHealth,
    pipeline: Pipeline,
    load: LoadMeter,
    *,
    running: bool,
    stamped_ahead: int,
) -> Health:
    """Return how a lab is at this moment.

    Parameters
    ----------
    info, feed
        What the feed is, and how it says that it is.
    pipeline, load
        Of the lab.
    running : bool
        Whether the lab was started and has not ended.
    stamped_ahead : int
        Times of trades that the lab, not the feed, has corrected.
    """
    row_p50_ms, row_p99_ms = pipeline.latency_ms.p50_p99()
    last = pipeline.rows.view(1)
    corrected = {"stamped ahead": stamped_ahead} if stamped_ahead else {}
    return Health(
        state=feed.state,
        detail=feed.detail,
        feed=info.name,
        real_money=info.real_money,
        stream=info.stream,
        ticks=feed.ticks,
        rows=pipeline.row_count,
        dropped={**feed.dropped, **corrected, **pipeline.dropped()},
        reconnects=feed.reconnects,
        gaps=feed.gaps,
        missing=feed.missing,
        lag_ms=feed.lag_ms,
        lag_p50_ms=feed.lag_p50_ms,
        lag_p99_ms=feed.lag_p99_ms,
        row_p50_ms=row_p50_ms,
        row_p99_ms=row_p99_ms,
        ticks_per_s=load.ticks_per_s if running else 0.0,
        filled=int(last["filled"][0]) if len(last) else 0,
        window=pipeline.settings.window,
        uptime_s=load.uptime_s if running else 0.0,
        memory_bytes=pipeline.rows.nbytes + pipeline.ticks.nbytes,
        loop_lag_ms=load.loop_lag_s * 1e3,
        late_ticks=0 if pipeline.engine is None else pipeline.engine.late,
        warnings=pipeline.warnings(),
        bad_frames=feed.bad_frames,
    )
