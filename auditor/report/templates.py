"""Jinja environments in which no value can act: every string is escaped and made visible."""

import functools
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from auditor.data import data_dir
from auditor.report import words
from auditor.report.escape import (
    code_block,
    code_span,
    visible,
    visible_html,
    visible_markdown,
)
from auditor.report.measure_titles import measure_meaning

if TYPE_CHECKING:
    from jinja2 import Environment


def _inert_html(value: Any) -> Any:
    """Show hidden characters of any string; autoescape then makes it inert."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _inert_markdown(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible_markdown(value)
    return value


def _environment(**options: Any) -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701 - autoescape is among the options
        loader=FileSystemLoader(data_dir("reports") / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    environment.filters.update(
        number=words.number,
        counted=words.counted,
        sentence=words.sentence,
        size=words.file_size,
        exact=repr,
        role=lambda role: words.ROLE_TITLES.get(role, role),
        meaning=measure_meaning,
    )
    environment.globals.update(interval=words.interval, ends=words.ends, glossary=words.GLOSSARY)
    return environment


@functools.cache
def html_templates() -> "Environment":
    """Return the environment of the HTML templates."""
    environment = _environment(autoescape=True, finalize=_inert_html)
    environment.filters["written"] = visible_html
    return environment


@functools.cache
def markdown_templates() -> "Environment":
    """Return the environment of the Markdown templates."""
    # Not autoescape: Markdown has its own rules, applied to every value by `finalize`.
    environment = _environment(autoescape=False, finalize=_inert_markdown)
    environment.filters["code"] = lambda text: Markup(code_span(str(text)))  # noqa: S704
    environment.filters["block"] = lambda text: Markup(code_block(text))  # noqa: S704
    return environment
