"""Panels beside the charts: status bar, controls, tables, alerts, signal, export."""
