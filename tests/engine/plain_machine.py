"""The signal machine as design and table say it, in plain Python, for tests."""

import math

from pairlab.limits.stationarity import largest_p
from pairlab.schema import AlertKind, Filter
from pairlab.settings import Settings


class PlainMachine:
    """Feed it rows in order; each gives (kind, side, failed, withheld) or None."""

    def __init__(self, **settings):
        self.set = settings
        self.largest_p = largest_p(Settings(**settings).values())
        self.position = 0
        self.locked_side = None
        self.suppressed_side = None
        self.decoupled = False
        self.entered_ns = self.left_ns = None
        self.shown_ns = None
        self.withheld = 0

    def failed(self, row):
        s, failed = self.set, Filter(0)
        correlation = self.correlation(row)
        if math.isnan(correlation) or correlation < s["min_correlation"]:
            failed |= Filter.CORRELATION
        if max(row["y_age_s"], row["x_age_s"]) >= s["max_leg_age_s"]:
            failed |= Filter.LEG_AGE
        p = float(row["p_value"])
        if s["require_stationary"] and (math.isnan(p) or p > self.largest_p):
            failed |= Filter.STATIONARY
        if self.left_ns is not None:
            since_s = (int(row["time_ns"]) - self.left_ns) / 1e9
            if since_s < s["cooldown_s"]:
                failed |= Filter.COOLDOWN
        if s["min_edge_bps"] is not None:
            away = abs(float(row["spread"]) - float(row["spread_mean"]))
            share = away if s["price_scale"] == "log" else away / float(row["y"])
            if math.isnan(share) or share * 10_000 < s["min_edge_bps"]:
                failed |= Filter.EDGE
        if s["stop_z"] is not None and abs(float(row["zscore"])) >= s["stop_z"]:
            failed |= Filter.STOP_Z
        return failed

    @staticmethod
    def correlation(row):
        """Of y with what is sold against it, β·x."""
        return float(row["correlation"]) * math.copysign(1.0, float(row["hedge_ratio"]))

    def step(self, row):
        s, z = self.set, float(row["zscore"])
        now = int(row["time_ns"])
        expired = bool(
            self.position and s["max_hold_s"] and now - self.entered_ns >= s["max_hold_s"] * 1e9
        )
        if math.isnan(z):
            return self.expire(now) if expired else None
        side = math.copysign(1, z)
        if abs(z) <= s["exit_z"] or self.locked_side != side:
            self.locked_side = None
        if abs(z) <= s["exit_z"] or self.suppressed_side != side:
            self.suppressed_side = None
        if self.position:
            held = self.position
            out = -z if held < 0 else z  # towards the mean is up
            if out >= -s["exit_z"]:
                self.position, self.left_ns = 0, now
                return AlertKind.EXIT, held, Filter(0), 0
            if s["stop_z"] is not None and out <= -s["stop_z"]:
                self.position, self.left_ns, self.locked_side = 0, now, side
                return AlertKind.STOP, held, Filter(0), 0
            if expired:
                return self.expire(now)
            if self.correlation(row) < s["min_correlation"] and not self.decoupled:
                self.decoupled = True
                return AlertKind.DECOUPLED, held, Filter(0), 0
            return None
        if abs(z) < s["entry_z"] or self.locked_side is not None:
            return None
        wanted = -1 if z > 0 else 1
        failed = self.failed(row)
        if not failed:
            self.position, self.decoupled, self.entered_ns = wanted, False, now
            return AlertKind.ENTRY, wanted, Filter(0), 0
        if self.suppressed_side is not None:
            return None
        self.suppressed_side = side
        if self.shown_ns is not None and now - self.shown_ns < 10 * 10**9:
            self.withheld += 1
            return None
        withheld, self.withheld, self.shown_ns = self.withheld, 0, now
        return AlertKind.SUPPRESSED, wanted, failed, withheld

    def expire(self, now):
        """Leave a position for its age; what it was entered on is still on that side."""
        held, self.position, self.left_ns = self.position, 0, now
        self.locked_side = -held
        return AlertKind.STOP, held, Filter.MAX_HOLD, 0
