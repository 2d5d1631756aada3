"""The signal machine as design and table say it, in plain Python, for tests."""

import math

from pairlab.schema import AlertKind, Filter


class PlainMachine:
    """Feed it rows in order; each gives (kind, side, failed, withheld) or None."""

    def __init__(self, **settings):
        self.set = settings
        self.position = 0
        self.locked_side = None
        self.suppressed_side = None
        self.decoupled = False
        self.left_ns = None
        self.shown_ns = None
        self.withheld = 0

    def failed(self, row):
        s, failed = self.set, Filter(0)
        correlation = float(row["correlation"])
        if math.isnan(correlation) or correlation < s["min_correlation"]:
            failed |= Filter.CORRELATION
        if max(row["y_age_s"], row["x_age_s"]) >= s["max_leg_age_s"]:
            failed |= Filter.LEG_AGE
        p = float(row["p_value"])
        if s["require_stationary"] and (math.isnan(p) or p > s["max_p_value"]):
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
        return failed

    def step(self, row):
        s, z = self.set, float(row["zscore"])
        if math.isnan(z):
            return None
        side = math.copysign(1, z)
        if abs(z) <= s["exit_z"] or self.locked_side != side:
            self.locked_side = None
        if abs(z) <= s["exit_z"] or self.suppressed_side != side:
            self.suppressed_side = None
        now = int(row["time_ns"])
        if self.position:
            held = self.position
            out = -z if held < 0 else z  # towards the mean is up
            if out >= -s["exit_z"]:
                self.position, self.left_ns = 0, now
                return AlertKind.EXIT, held, Filter(0), 0
            if s["stop_z"] is not None and out <= -s["stop_z"]:
                self.position, self.left_ns, self.locked_side = 0, now, side
                return AlertKind.STOP, held, Filter(0), 0
            if float(row["correlation"]) < s["min_correlation"] and not self.decoupled:
                self.decoupled = True
                return AlertKind.DECOUPLED, held, Filter(0), 0
            return None
        if abs(z) < s["entry_z"] or self.locked_side is not None:
            return None
        wanted = -1 if z > 0 else 1
        failed = self.failed(row)
        if not failed:
            self.position, self.decoupled = wanted, False
            return AlertKind.ENTRY, wanted, Filter(0), 0
        if self.suppressed_side is not None:
            return None
        self.suppressed_side = side
        if self.shown_ns is not None and now - self.shown_ns < 10 * 10**9:
            self.withheld += 1
            return None
        withheld, self.withheld, self.shown_ns = self.withheld, 0, now
        return AlertKind.SUPPRESSED, wanted, failed, withheld
