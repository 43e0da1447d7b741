"""Case -> HTML, Markdown and JSON."""
