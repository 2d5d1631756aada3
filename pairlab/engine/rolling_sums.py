"""Rolling sums over the window that stay accurate however long the stream runs.

The sums are those of u = y − y0, v = x − x0 and of the spread itself, w = u − b0·v, anchored in
the middle of the window on its own slope: a tight pair's spread is a millionth of its prices, and
moments of the prices would lose it. Every lagged sum a Dickey-Fuller regression needs follows
from these, from the differences' sums, and from four observations at the window's edges.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from pairlab.engine.jit import jit_internal
from pairlab.engine.state import EPS, FIXED, KALMAN

__all__ = [
    "minus_product",
    "needs_recompute",
    "recentre",
    "recompute_sums",
    "return_noise",
    "update_sums",
]

_SPLIT = 134217729.0  # 2**27 + 1: Veltkamp's constant for doubles
_SHRUNK = 1e-4


@jit_internal
def minus_product(y: float, b: float, x: float) -> float:
    """Return y − b·x, compensated for the rounding of the product (Dekker 1971).

    A spread of 1e-5 between prices of 75,000 has six digits left in plain arithmetic, sixteen
    here.
    """
    product = b * x
    t = _SPLIT * b
    b_high = t - (t - b)
    b_low = b - b_high
    t = _SPLIT * x
    x_high = t - (t - x)
    x_low = x - x_high
    error = ((b_high * x_high - product) + b_high * x_low + b_low * x_high) + b_low * x_low
    return (y - product) - error


@jit_internal
def update_sums(s: Any, p: Any, ring: NDArray[Any], y: float, x: float, innovation: float) -> None:
    """Update the sums of a full window: subtract the oldest observation, add the newest."""
    n = p.window
    i0 = s.head
    i1 = i0 + 1 if i0 + 1 < n else 0
    i2 = i1 + 1 if i1 + 1 < n else 0
    j1 = i0 - 1 if i0 > 0 else n - 1
    j2 = j1 - 1 if j1 > 0 else n - 1
    y0, x0, b0 = s.y0, s.x0, s.b0

    u = ring[i0, 0] - y0
    v = ring[i0, 1] - x0
    w = u - b0 * v
    v1 = ring[i1, 1] - x0
    w1 = (ring[i1, 0] - y0) - b0 * v1
    v2 = ring[i2, 1] - x0
    w2 = (ring[i2, 0] - y0) - b0 * v2
    d1 = w1 - w
    g1 = v1 - v
    d2 = w2 - w1
    g2 = v2 - v1

    un = y - y0
    vn = x - x0
    wn = un - b0 * vn
    va = ring[j1, 1] - x0
    wa = (ring[j1, 0] - y0) - b0 * va
    vb = ring[j2, 1] - x0
    wb = (ring[j2, 0] - y0) - b0 * vb
    da = wn - wa
    ga = vn - va
    db = wa - wb
    gb = va - vb

    s.u += un - u
    s.v += vn - v
    s.uu += un * un - u * u
    s.vv += vn * vn - v * v
    s.uv += un * vn - u * v
    s.w += wn - w
    s.ww += wn * wn - w * w
    s.wv += wn * vn - w * v
    s.dd += da * da - d1 * d1
    s.dg += da * ga - d1 * g1
    s.gg += ga * ga - g1 * g1
    s.dd1 += da * db - d2 * d1
    s.dg1 += (da * gb + ga * db) - (d2 * g1 + g2 * d1)
    s.gg1 += ga * gb - g2 * g1
    s.peak_u = max(s.peak_u, s.uu)
    s.peak_v = max(s.peak_v, s.vv)
    s.peak_w = max(s.peak_w, s.ww)
    s.peak_d = max(s.peak_d, s.dd)
    s.peak_g = max(s.peak_g, s.gg)

    if p.correlate_returns != 0:
        q = one_return(p, ring[i0, 0], ring[i1, 0]) - s.q0
        r = one_return(p, ring[i0, 1], ring[i1, 1]) - s.r0
        qn = one_return(p, ring[j1, 0], y) - s.q0
        rn = one_return(p, ring[j1, 1], x) - s.r0
        s.q += qn - q
        s.r += rn - r
        s.qq += qn * qn - q * q
        s.rr += rn * rn - r * r
        s.qr += qn * rn - q * r
        s.peak_q = max(s.peak_q, s.qq)
        s.peak_r = max(s.peak_r, s.rr)

    if p.hedge == KALMAN:
        e = ring[i0, 2] - s.i0
        en = innovation - s.i0
        before = ring[i1, 2] - ring[i0, 2]
        after = innovation - ring[j1, 2]
        s.i += en - e
        s.ii += en * en - e * e
        s.di += after * after - before * before
        s.peak_i = max(s.peak_i, s.ii)


@jit_internal
def one_return(p: Any, before: float, after: float) -> float:
    """Return the one-step return: relative, or a difference of prices that are logs already."""
    if p.log_prices != 0:
        return after - before
    return (after - before) / before


@jit_internal
def noise_floor(s: Any, p: Any) -> float:
    """Return the spread's centred sum of squares that rounding of the prices alone explains.

    A spread below it (rms within 4 units in the last place of the prices) is flat: an exact
    multiple of one price shows such noise, and its z-score would be a picture of rounding.
    """
    y, x = abs(s.y0), abs(s.x0)
    if p.log_prices != 0:  # the logarithm of a price near 1 is rounded as the price was
        y, x = max(y, 1.0), max(x, 1.0)
    level: float = 4.0 * EPS * (y + abs(s.b0) * x)
    n: int = p.window
    return n * level * level


@jit_internal
def recentre(s: Any, p: Any) -> None:
    """Centre the sums about their means; remove the slope that the spread still has on x."""
    mean_u = s.u * p.inv_n
    mean_v = s.v * p.inv_n
    s.s_uu = s.uu - s.u * mean_u
    s.s_vv = s.vv - s.v * mean_v
    s.s_uv = s.uv - s.u * mean_v
    s.s_ee = s.ww - s.w * (s.w * p.inv_n)
    s.slope = 0.0
    if p.hedge != FIXED and s.run_x < p.window:
        s.s_wv = s.wv - s.w * mean_v
        s.slope = s.s_wv / s.s_vv
        s.s_ee = max(s.s_ee - s.slope * s.s_wv, 0.0)


@jit_internal
def needs_recompute(s: Any, p: Any) -> bool:
    """Return whether the sums have lost too many digits to cancellation.

    A bad tick of 1e9 leaves rounding of 1e2 behind in a sum of squares. What remains is compared
    with the largest that each sum has been: this covers one leaving observation as well as several
    that left one by one. Once per window the sums are recomputed in any case.
    """
    if (
        s.since_recompute >= p.window
        or s.s_uu < _SHRUNK * s.peak_u
        or s.s_vv < _SHRUNK * s.peak_v
        or s.gg < _SHRUNK * s.peak_g
        or (s.s_ee < _SHRUNK * s.peak_w and s.peak_w > s.floor)
        or (s.dd < _SHRUNK * s.peak_d and s.peak_d > s.floor)
    ):
        return True
    if p.correlate_returns != 0:
        noise = return_noise(p)
        if s.qq - s.q * s.q * p.inv_n1 < _SHRUNK * s.peak_q and s.peak_q > noise:
            return True
        if s.rr - s.r * s.r * p.inv_n1 < _SHRUNK * s.peak_r and s.peak_r > noise:
            return True
    if p.hedge == KALMAN and s.peak_i > s.floor:
        return bool(s.ii - s.i * s.i * p.inv_n < _SHRUNK * s.peak_i)
    return False


@jit_internal
def return_noise(p: Any) -> float:
    """Return the returns' centred sum of squares that rounding of the prices alone explains."""
    n: int = p.window
    return 16.0 * EPS * EPS * n


@jit_internal
def recompute_sums(s: Any, p: Any, ring: NDArray[Any]) -> None:
    """Recompute every sum from the full window, about new anchors in its middle."""
    n = p.window
    s.since_recompute = 0
    y_first, x_first, i_first = ring[s.head, 0], ring[s.head, 1], ring[s.head, 2]
    u = v = e = 0.0
    for k in range(n):
        u += ring[k, 0] - y_first
        v += ring[k, 1] - x_first
        e += ring[k, 2] - i_first
    s.y0 = y0 = y_first + u / n
    s.x0 = x0 = x_first + v / n
    s.i0 = i0 = i_first + e / n

    u = v = uu = vv = uv = 0.0
    for k in range(n):
        a = ring[k, 0] - y0
        b = ring[k, 1] - x0
        u += a
        v += b
        uu += a * a
        vv += b * b
        uv += a * b
    s.u, s.v, s.uu, s.vv, s.uv = u, v, uu, vv, uv
    if p.hedge == FIXED:
        b0 = p.hedge_ratio
    elif s.run_x >= n:
        b0 = 0.0
    else:
        b0 = (uv - u * v / n) / (vv - v * v / n)
    s.b0 = b0
    s.c0 = minus_product(y0, b0, x0)
    s.floor = noise_floor(s, p)

    w = ww = wv = dd = dg = gg = dd1 = dg1 = gg1 = 0.0
    w_last = v_last = d_last = g_last = 0.0
    slot = s.head
    for k in range(n):
        b = ring[slot, 1] - x0
        a = (ring[slot, 0] - y0) - b0 * b
        w += a
        ww += a * a
        wv += a * b
        if k > 0:
            d = a - w_last
            g = b - v_last
            dd += d * d
            dg += d * g
            gg += g * g
            if k > 1:
                dd1 += d * d_last
                dg1 += d * g_last + g * d_last
                gg1 += g * g_last
            d_last, g_last = d, g
        w_last, v_last = a, b
        slot = slot + 1 if slot + 1 < n else 0
    s.w, s.ww, s.wv = w, ww, wv
    s.dd, s.dg, s.gg, s.dd1, s.dg1, s.gg1 = dd, dg, gg, dd1, dg1, gg1
    s.peak_u, s.peak_v, s.peak_w, s.peak_d, s.peak_g = uu, vv, ww, dd, gg
    if p.correlate_returns != 0:
        _recompute_returns(s, p, ring)
    if p.hedge == KALMAN:
        _recompute_innovations(s, p, ring, i0)
    recentre(s, p)


@jit_internal
def _recompute_returns(s: Any, p: Any, ring: NDArray[Any]) -> None:
    n = p.window
    q0 = r0 = 0.0
    for again in range(2):
        q = r = qq = rr = qr = 0.0
        last = s.head
        for _ in range(n - 1):
            slot = last + 1 if last + 1 < n else 0
            a = one_return(p, ring[last, 0], ring[slot, 0]) - q0
            b = one_return(p, ring[last, 1], ring[slot, 1]) - r0
            q += a
            r += b
            qq += a * a
            rr += b * b
            qr += a * b
            last = slot
        if again == 0:
            q0 = q / (n - 1)
            r0 = r / (n - 1)
    s.q0, s.r0 = q0, r0
    s.q, s.r, s.qq, s.rr, s.qr = q, r, qq, rr, qr
    s.peak_q, s.peak_r = qq, rr


@jit_internal
def _recompute_innovations(s: Any, p: Any, ring: NDArray[Any], i0: float) -> None:
    n = p.window
    i = ii = di = 0.0
    slot = s.head
    last = ring[slot, 2]
    for _ in range(n):
        e = ring[slot, 2]
        i += e - i0
        ii += (e - i0) * (e - i0)
        di += (e - last) * (e - last)
        last = e
        slot = slot + 1 if slot + 1 < n else 0
    s.i, s.ii, s.di = i, ii, di
    s.peak_i = ii
