"""The page that Voila serves: its template, its title and theme, and what it may not do."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pairlab.app.app import AppOptions, PageQuery
from pairlab.widgets.style.theme import DARK, theme_css

__all__ = ["prepare_page", "voila_settings"]

_ROOT: Final = Path(str(files("pairlab.app"))) / "template"
"""A folder of Jupyter data: Voila finds ``voila/templates/pairlab`` below it."""

_EXTENSIONS: Final = (
    "@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager", "anywidget",
    "bqplot", "bqscales",
)  # fmt: skip
"""The front end's plugins that the page needs; whatever else is installed is not loaded."""

_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    f'<rect width="16" height="16" rx="3" fill="{DARK.panel}"/>'
    '<g fill="none" stroke-width="1.8" stroke-linejoin="round" stroke-linecap="round">'
    f'<path d="M2 11 5.5 6.5 8.5 9 14 3.5" stroke="{DARK.y}"/>'
    f'<path d="M2 13 6 9.5 9.5 11.5 14 8" stroke="{DARK.x}"/></g></svg>'
)


def voila_settings() -> dict[str, Any]:
    """Return Voila's configuration for the app, and let it find the app's template.

    The address of a page chooses neither template nor theme of Voila's own: both names would go
    into the page. `prepare_page` reads what it may choose.
    """
    known = os.environ.get("JUPYTER_PATH", "")
    if str(_ROOT) not in known.split(os.pathsep):
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(_ROOT), known]))
    icon = f"data:image/svg+xml,{quote(_ICON)}"
    return {
        "VoilaConfiguration": {
            "template": "pairlab",
            "theme": "dark",
            "allow_template_override": "NO",
            "allow_theme_override": "NOTEBOOK",
            "extension_allowlist": list(_EXTENSIONS),
            "prelaunch_hook": prepare_page,
            "resources": {"pairlab": {"css": theme_css(), "icon": icon}},
        },
        "VoilaExecutor": {
            "cell_error_instruction": "The terminal that runs pairlab says why.",
        },
    }


def prepare_page(handler: Any, notebook: Any, cwd: str) -> None:
    """Give a page its title and theme before anything is sent, and the means to end its kernel.

    Parameters
    ----------
    handler : tornado.web.RequestHandler
        Of the page's request.
    notebook : nbformat.NotebookNode
        This request's own copy.
    cwd : str
        Where the notebook lies.
    """
    # Reading it sets the cookie that the closing page must send along; without it the server
    # refuses to end the page's kernel, and every visit would leave one running.
    _ = handler.xsrf_token
    asked = PageQuery.read(handler.request.query, AppOptions.from_environment(os.environ))
    notebook.metadata["title"] = f"{asked.y} / {asked.x} · pairlab"
    notebook.metadata["voila"] = {"theme": "light" if asked.theme == "light" else "dark"}
