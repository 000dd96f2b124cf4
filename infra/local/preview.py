"""A page to leaf through e-mails that were rendered into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

_INDEX = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body{{margin:0;background:#e7e4dc;font:15px/22px -apple-system,'Segoe UI',Roboto,sans-serif;color:#26241f}}
main{{display:grid;grid-template-columns:repeat(auto-fill,minmax({width}px,1fr));gap:32px;padding:32px}}
iframe{{width:100%;height:{height}px;border:0;border-radius:10px;background:#f3f1ec}}h2{{font-size:15px;margin:0 0 8px}}
</style></head><body><main>{sheets}</main></body></html>
"""
_SHEET = """<section><h2>{subject} <a href="{name}.html">{name}</a> <a href="{name}.txt">text</a></h2>
<iframe src="{name}.html"></iframe></section>"""


def write_email(folder: Path, name: str, html: str, text: str) -> None:
    """An e-mail's two forms, as ``write_index`` refers to them."""
    (folder / f"{name}.html").write_text(html, encoding="utf-8")
    (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def write_index(folder: Path, title: str, subjects: Mapping[str, str], *, width: int, height: int) -> None:
    """``index.html`` with a frame for each e-mail, of so many pixels. ``subjects`` by name, in their order."""
    sheets = "\n".join(
        _SHEET.format(subject=escape(subject), name=name) for name, subject in subjects.items()
    )
    page = _INDEX.format(title=title, width=width, height=height, sheets=sheets)
    (folder / "index.html").write_text(page, encoding="utf-8")
