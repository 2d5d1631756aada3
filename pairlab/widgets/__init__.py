"""What is seen: widgets that take a lab, each usable alone, and the dashboard made of them.

::

    dashboard   Dashboard: the parts on one screen (layouts: which ones, and how they lie)
    zscore      ZScoreChart
    charts      SpreadChart, CorrelationChart, PriceChart (chart: what all on one time axis share)
    hedge       HedgeChart: β and the intercept
    histogram   ZHistogram: how often z was where
    tools       ViewTools: span, pan, zoom, select, reset (view: what they change)
    status      StatusBar (reasons: why the signal waits)
    events      EventLog (lags: how long rows wait for the screen)
    signal      SignalPanel: the position held and its profit after costs
    controls    Controls: settings as sliders, both ways
    tables      LatestTable, RowTable
    alerttable  AlertTable: alerts, filters, and the explanation of one
    export      ExportButton: the browser downloads tables as CSV, charts as PNG or SVG
    part        Part: what every part is, made once for a lab
    screen      Screen: one frame clock, view, pointer and brush per lab, shared by its parts
    frame       Frame: one picture, gathered once and read by every part
    theme, style, formats       colours and sizes; the style sheet; numbers as text
    plotting, thin, trees       bqplot's names; decimation; widget upkeep
"""

from pairlab.widgets.alerttable import AlertTable
from pairlab.widgets.charts import CorrelationChart, PriceChart, SpreadChart
from pairlab.widgets.controls import Controls
from pairlab.widgets.dashboard import Dashboard
from pairlab.widgets.events import EventLog
from pairlab.widgets.export import ExportButton
from pairlab.widgets.hedge import HedgeChart
from pairlab.widgets.histogram import ZHistogram
from pairlab.widgets.signal import SignalPanel
from pairlab.widgets.status import StatusBar
from pairlab.widgets.tables import LatestTable, RowTable
from pairlab.widgets.theme import dress
from pairlab.widgets.tools import ViewTools
from pairlab.widgets.zscore import ZScoreChart

__all__ = [
    "AlertTable",
    "Controls",
    "CorrelationChart",
    "Dashboard",
    "EventLog",
    "ExportButton",
    "HedgeChart",
    "LatestTable",
    "PriceChart",
    "RowTable",
    "SignalPanel",
    "SpreadChart",
    "StatusBar",
    "ViewTools",
    "ZHistogram",
    "ZScoreChart",
    "dress",
]
