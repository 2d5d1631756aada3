"""The dashboard as a Voila app: options, server configuration, page template."""

from pairlab.app.app import AppOptions, PageQuery, dashboard_for_page, lab_for_page

__all__ = ["AppOptions", "PageQuery", "dashboard_for_page", "lab_for_page"]
