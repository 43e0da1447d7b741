"""No secrets, and nothing that a reader's programs would run or load (V14)."""

import re
from collections.abc import Iterator, Mapping, Set
from html.parser import HTMLParser
from pathlib import Path

from auditor.bundle.check import Check, judged
from auditor.bundle.check_chain import custody_events
from auditor.bundle.key_like import EVENT, accepted_texts, unaccepted
from auditor.bundle.scan import Scanned
from auditor.case import Case

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_RUN = {"script", "iframe", "frame", "object", "embed", "applet", "base", "form"}
_RUN |= {"foreignobject", "animate", "set", "audio", "video", "source", "portal"}
_LOADED = ("src", "srcset", "data", "action", "formaction", "poster", "background", "ping")
_STYLE = re.compile(r"@import|expression\s*\(|url\(\s*['\"]?(?!#|data:image/)", re.IGNORECASE)
_MARKUP = re.compile(r"<\s*(script|iframe|object|embed|svg|img)\b|javascript:", re.IGNORECASE)


def check_content(root: Path, scanned: Mapping[str, Scanned]) -> Check:
    """V14: no shape of a key in any file; reports hold no script and load nothing.

    Replies that whoever sealed the case accepted as key-like in looks alone are a note.
    """
    case = Case(root)
    try:
        rows = [event for event in custody_events(case) if event["event"] == EVENT]
        accepted = accepted_texts(case, rows)
    except (OSError, ValueError, LookupError, TypeError):
        rows, accepted = [], set()  # a log that cannot be read accepts nothing; V07 names it
    faults = _faults(root, scanned, accepted)
    notes = [
        f"{row['record']} holds what looks like {' and '.join(row['what'])}: accepted at the seal "
        "as a text of the model"
        for row in rows
    ]
    return judged("V14", faults, notes)


def _faults(root: Path, scanned: Mapping[str, Scanned], accepted: Set[bytes]) -> Iterator[str]:
    for name in sorted(scanned):
        replies = scanned[name].replies
        if replies is not None and not replies.key_like:
            continue
        found = unaccepted(root / name, accepted)
        if found:
            yield f"{name} holds what looks like {found[0].what}"
        if name.endswith((".html", ".htm", ".svg", ".xhtml")):
            page = _Page()
            page.feed((root / name).read_text(encoding="utf-8"))
            page.close()
            yield from (f"{name}: {fault}" for fault in page.faults)
            if page.policy != [_POLICY]:
                yield f"{name}: its content security policy is not the one that forbids all"
        elif name.endswith(".md") and name.startswith("data/report"):
            text = (root / name).read_text(encoding="utf-8")
            yield from (f"{name}: holds {match[0]!r}" for match in _MARKUP.finditer(text))


class _Page(HTMLParser):
    """What an HTML file would run or load."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.policy: list[str] = []
        self._styled = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element does."""
        self._styled = tag == "style"
        values = {name: value or "" for name, value in attrs}
        if tag in _RUN:
            self.faults.append(f"holds <{tag}>")
        if tag == "link":
            # An empty icon keeps browsers from asking for one; nothing else may be linked.
            if values != {"rel": "icon", "href": "data:,"}:
                self.faults.append("holds <link>")
            return
        if tag == "meta" and "http-equiv" in values:
            if values["http-equiv"].lower() == "content-security-policy":
                self.policy.append(values.get("content", ""))
            else:
                self.faults.append(f"holds <meta http-equiv={values['http-equiv']!r}>")
        self.faults += [f"<{tag} {one}>" for one in values if _runs(one, values[one])]

    def handle_endtag(self, tag: str) -> None:
        """Leave a style sheet."""
        self._styled = self._styled and tag != "style"

    def handle_data(self, data: str) -> None:
        """Look for what a style sheet loads."""
        if self._styled and _STYLE.search(data):
            self.faults.append("its style sheet loads something")


def _runs(name: str, value: str) -> bool:
    """Whether an attribute runs or loads something that is not in the page itself."""
    if name.startswith("on") or name == "srcdoc":
        return True
    if name in ("href", "xlink:href"):
        return _address(value).startswith(("javascript:", "vbscript:", "data:"))
    if name in _LOADED:
        return not _address(value).startswith("data:image/")
    # All that the pattern finds has one of these; the paths of a drawing are long and have none.
    return ("(" in value or "@" in value) and bool(_STYLE.search(value))


def _address(value: str) -> str:
    """Return an address as a browser reads it, without spaces and control characters."""
    return re.sub(r"[\x00-\x20]", "", value).lower()
