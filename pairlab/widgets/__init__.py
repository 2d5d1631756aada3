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

from pairlab.widgets.charts.fitted import CorrelationChart, PriceChart, SpreadChart
from pairlab.widgets.charts.hedge import HedgeChart
from pairlab.widgets.charts.histogram import ZHistogram
from pairlab.widgets.charts.zscore import ZScoreChart
from pairlab.widgets.dashboard import Dashboard
from pairlab.widgets.panels.alert_table import AlertTable
from pairlab.widgets.panels.controls import Controls
from pairlab.widgets.panels.event_log import EventLog
from pairlab.widgets.panels.export import ExportButton
from pairlab.widgets.panels.signal_panel import SignalPanel
from pairlab.widgets.panels.status_bar import StatusBar
from pairlab.widgets.panels.tables import LatestTable, RowTable
from pairlab.widgets.panels.view_toolbar import ViewTools
from pairlab.widgets.style.theme import dress

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
