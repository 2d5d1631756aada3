"""Widgets that show a lab, each usable alone, and the dashboard made of them.

::

    dashboard.py             Dashboard: the parts of a lab in a layout and a theme
    layouts.py               which parts a layout has, and in what order
    core/                    what every widget stands on
      lab_widget.py          LabWidget, the base class: painting, input, closing
      render_loop.py         RenderLoop: one clock per lab that paints its open widgets
      part_registry.py       PartRegistry: which widgets are open, which are shared
      frame.py               Frame: one picture, gathered once, frozen, read by every widget
      frame_meter.py         frames per second, and what one costs
      view_state.py          ViewState: span, frozen window, pause, pointer, selection
      view.py                View: the same at one moment, frozen
      recorded_past.py       RecordedPast: rows before those in memory, read from the recording
      time_axis.py           scales and clock labels that all charts share
      chart_interaction.py   pointer, brush and mouse that all charts share
      kernel_hooks.py        when a cell runs
      widget_utils.py        set_traits and ticks; closing with everything below
    transport/               between kernel and browser
      frontend_channel.py    FrontendChannel: messages to and from the pages
      frame_pacer.py         FramePacer: when to paint, by what pages acknowledge
      message_batching.py    a frame's updates in one message
      compat.py              every private name of ipywidgets, traitlets, bqplot, d3, checked
      bqplot_marks.py        the classes of bqplot that are used
      pointer.py             where in a chart the mouse is, and how far it drags
      render_latency.py      from a tick's receipt to its row's pixels
      resync.py              what a page missed while it loaded
      heartbeat.py           a sign of life where nothing else was sent for a second
      js/                    the browser's side of these
    still/                   the picture in a saved notebook, and the page of `lab.to_html`
      output.py              when it is drawn, and where it is put
      page.py                a dashboard as one HTML page that stands alone
      page_data.py           what it shows, taken at one moment
      page_charts.py         its charts: curves, markers, labels
      page_tables.py         its numbers, alerts and rows
      svg_chart.py           curves as SVG
      picture.py             a lab's newest rows as a picture, and in words
      board_picture.py       the same of a board: its table and a cell a pair
      raster.py              lines and text as PNG
    report/                  the report of a backtest
      report.py              Report: `BacktestResult.dashboard`
      report_page.py         the same as a page: `BacktestResult.to_html`
      result_view.py         what it reads of a result
      result_lab.py          ResultLab: a result as widgets see a lab
      equity_chart.py        equity and drawdown; z-score and spread with the trades
      trade_table.py         TradeTable: orders, pages, and everything about one
      panels.py              trades and returns from all sides
      svg_figure.py          bars, dots and lines as SVG with labels
      heat_map.py            SweepHeatmap: `SweepResult.heatmap`
      sweep_still.py         what of a sweep is kept as a picture in a notebook
      words.py               its head, notes and figures
    scan/                    the pairs of a scan
      scan_report.py         ScanReport: `ScanResult.dashboard`
      scan_still.py          what of it is kept as a picture in a notebook
      scan_view.py           what it reads of a scan
      pair_table.py          PairTable: sorted, filtered, a page at a time
      pair_filter.py         pairs by words
      matrix_map.py          MatrixMap: p and correlations of all pairs
      pair_charts.py         what chance finds; spread and z of one pair
    board/                   many pairs on one page
      board_page.py          BoardPage: `Board.dashboard`
      board_table.py         table and heat map, drawn by the browser
      board_lines.py         a line of its table, with its sparkline
      board_still.py         what of it is kept as a picture in a notebook
      board_words.py         strip and alerts as HTML
    charts/
      chart.py               the base of all charts on the time axis
      autoscaled.py          its subclass whose y axis fits its data
      zscore.py              ZScoreChart
      spread.py              SpreadChart
      correlation.py         CorrelationChart
      prices.py              PriceChart
      hedge.py               HedgeChart: β and the intercept
      histogram.py           ZHistogram: how often z was where
      decimation.py          thousands of rows in a few hundred pixels
    panels/
      filter_text.py         why the signal waits, in words
      controls.py            Controls: settings as sliders, both ways
      typed_number.py        what a person typed into a field, as a number
      view_toolbar.py        ViewTools: span, pan, zoom, select, reset
      tables.py              LatestTable, RowTable
      transport_bar.py       TransportBar: play, pause, steps, time and speed of a replay
      signal_panel.py        SignalPanel: the open position and its profit after costs
      alert_table.py         AlertTable: alerts, filters, and the explanation of one
      event_log.py           EventLog
      session_pnl.py         SessionPnl: what the decisions have made on paper
      what_if.py             WhatIf: net profit over entry z and timeframe
      record_button.py       RecordButton: starts and ends a recording, shows its state
      export.py              ExportButton: tables as CSV, charts as PNG or SVG
    panels/strip/            the status bar
      status_bar.py          StatusBar: pair, feed, z, signal, profit, stationarity, buttons
      feed_health.py         the feed's verdict in words, and the figures behind it
      legend.py              what every word and sign means
      state_badges.py        a feed's state as a colour, a shape and a word
    style/
      theme.py               colours, sizes, icons; apply_theme
      stylesheet.py          the style sheet
      formats.py             numbers, times and text as the screen shows them
      precision.py           decimals of prices, spread and hedge ratio
"""

from pairlab.widgets.charts.correlation import CorrelationChart
from pairlab.widgets.charts.hedge import HedgeChart
from pairlab.widgets.charts.histogram import ZHistogram
from pairlab.widgets.charts.prices import PriceChart
from pairlab.widgets.charts.spread import SpreadChart
from pairlab.widgets.charts.zscore import ZScoreChart
from pairlab.widgets.dashboard import Dashboard
from pairlab.widgets.panels.alert_table import AlertTable
from pairlab.widgets.panels.controls import Controls
from pairlab.widgets.panels.event_log import EventLog
from pairlab.widgets.panels.export import ExportButton
from pairlab.widgets.panels.record_button import RecordButton
from pairlab.widgets.panels.session_pnl import SessionPnl
from pairlab.widgets.panels.signal_panel import SignalPanel
from pairlab.widgets.panels.strip.status_bar import StatusBar
from pairlab.widgets.panels.tables import LatestTable, RowTable
from pairlab.widgets.panels.transport_bar import TransportBar
from pairlab.widgets.panels.view_toolbar import ViewTools
from pairlab.widgets.panels.what_if import WhatIf
from pairlab.widgets.style.theme import apply_theme, dress

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
    "RecordButton",
    "RowTable",
    "SessionPnl",
    "SignalPanel",
    "SpreadChart",
    "StatusBar",
    "TransportBar",
    "ViewTools",
    "WhatIf",
    "ZHistogram",
    "ZScoreChart",
    "apply_theme",
    "dress",
]
