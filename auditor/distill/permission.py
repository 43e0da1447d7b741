"""The permission gate: no byte of a teacher is read before its permission file says yes.

A permission is data that a person wrote down and answers for; nothing here is a legal opinion.
``python -m auditor.distill.permission SPEC`` prints a file to fill in.
"""

import datetime
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from auditor.canon import digest, file_digest, pretty_json
from auditor.distill.recipe import Recipe
from auditor.errors import InputError, PermissionRefusedError

SCHEMA = "auditor/permission/1"
Verdict = Literal["permit", "permit-with-duties", "deny", "unknown"]
_VERDICTS = ("permit", "permit-with-duties", "deny", "unknown")
_SCOPES = ("research", "internal", "commercial")
_KEYS = (
    "schema",
    "teacher",
    "licence",
    "clauses",
    "scope",
    "duties",
    "expires",
    "approver",
    "verdict",
)
_COMMAND = "python -m auditor.distill.permission"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """A permission file that was read and judged."""

    verdict: Verdict
    reason: str
    """Why the verdict is not the one the file declares, or what it rests on."""
    digest: str
    content: dict[str, Any]
    path: Path
    override: str | None = None
    """Why somebody went on with the verdict unknown; None where nobody had to."""

    def as_json(self) -> dict[str, Any]:
        """Return what a lineage records."""
        overridden = {} if self.override is None else {"override": self.override}
        return {
            **overridden,
            "digest": self.digest,
            "verdict": self.verdict,
            "reason": self.reason,
            "licence": self.content["licence"]["id"],
            "scope": self.content["scope"],
            "duties": list(self.content["duties"]),
            "expires": self.content["expires"],
        }


def template(spec: str) -> dict[str, Any]:
    """Return a permission to fill in; as it stands it permits nothing: its verdict is unknown."""
    return {
        "schema": SCHEMA,
        "teacher": {"spec": spec, "digest": None},
        "licence": {"id": "", "text_sha256": "", "text_file": None},
        "clauses": [{"quote": "", "about": "use of outputs to train another model"}],
        "scope": "research",
        "duties": [],
        "expires": None,
        "approver": "",
        "verdict": "unknown",
    }


def write_template(path: Path, spec: str) -> Path:
    """Write a permission to fill in for the teacher `spec`; an existing file is left alone.

    Raises:
        InputError: the file exists.
        StorageError: it cannot be written.
    """
    from auditor.case import atomic_write

    if path.exists():
        raise InputError(f"{path} exists", hint="edit it, or give another name")
    atomic_write(path, pretty_json(template(spec)))
    return path


def require_permission(
    recipe: Recipe, *, today: datetime.date | None = None, accept_unknown: str | None = None
) -> Permission | None:
    """Return the permission that allows training on the recipe's teacher; None without a teacher.

    Reads the permission file (and the licence text it names), not the teacher. `accept_unknown` is
    a person's reason to go on with the verdict unknown; it stands in the ledger. Nothing goes on
    against a deny.

    Raises:
        PermissionRefusedError: there is none, it is malformed or expired, it is for another
            teacher, or its verdict is deny or unknown.
    """
    if recipe.teacher is None:
        return None
    permission = read_permission(recipe)
    day = today or datetime.datetime.now(datetime.UTC).date()
    expires = permission.content["expires"]
    if expires is not None and datetime.date.fromisoformat(expires) < day:
        raise PermissionRefusedError(
            f"{permission.path}: the permission expired on {expires}",
            hint="ask its approver for a new one",
        )
    if permission.verdict == "unknown" and accept_unknown is not None:
        if not accept_unknown.strip():
            raise PermissionRefusedError(
                "an unknown permission is accepted for a reason", hint="say why, in words"
            )
        return replace(permission, override=accept_unknown.strip())
    if permission.verdict not in ("permit", "permit-with-duties"):
        raise PermissionRefusedError(
            f"{permission.path}: verdict {permission.verdict} ({permission.reason})",
            hint="only permit and permit-with-duties start a distillation; unknown does too with "
            "--accept-unknown REASON, which goes on record",
        )
    return permission


def read_permission(recipe: Recipe) -> Permission:
    """Return the recipe's permission with its verdict, checked against the teacher's name.

    Raises:
        PermissionRefusedError: missing, malformed, or for another teacher.
    """
    teacher = recipe.teacher or ""
    if recipe.permission is None:
        raise PermissionRefusedError(
            f"the recipe names no permission to train on {teacher}",
            hint=f"{_COMMAND} {teacher} > permission.json prints a file to fill in; then add "
            "permission: permission.json to the recipe",
        )
    path = recipe.path(recipe.permission)
    raw = _read(path, teacher)
    content = _checked(raw, path)
    if not _same_subject(recipe, content["teacher"]["spec"]):
        raise PermissionRefusedError(
            f"{path} is for the teacher {content['teacher']['spec']!r}, not {teacher!r}",
            hint="name the permission of this teacher",
        )
    verdict, reason = _judge(content, path)
    return Permission(
        verdict=verdict, reason=reason, digest=digest(raw), content=content, path=path
    )


def check_digest(permission: Permission, found: str | None) -> None:
    """Refuse a teacher whose weights are not the ones the permission is for.

    Raises:
        PermissionRefusedError: the permission names a digest, and the teacher has another.
    """
    wanted = permission.content["teacher"]["digest"]
    if wanted is not None and wanted != found:
        raise PermissionRefusedError(
            f"{permission.path} is for weights {wanted}, and the teacher has {found}",
            hint="the teacher was changed since: get a permission for what it is now",
        )


def _read(path: Path, teacher: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PermissionRefusedError(
            f"cannot read the permission {path}: {error.strerror}",
            hint=f"{_COMMAND} {teacher} > {path} prints a file to fill in",
        ) from error


def _checked(raw: bytes, path: Path) -> dict[str, Any]:
    """Return the content, every key present and of its type."""
    import json

    def fail(what: str) -> PermissionRefusedError:
        return PermissionRefusedError(
            f"{path}: {what}", hint=f"{_COMMAND} SPEC prints a file with every key"
        )

    try:
        content = json.loads(raw)
    except ValueError as error:
        raise fail(f"not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise fail(f"the key schema is not {SCHEMA!r}")
    wrong = sorted({*content} ^ {*_KEYS})
    if wrong:
        raise fail(f"missing or unknown keys: {', '.join(wrong)}")
    problem = _wrong_value(content)
    if problem:
        raise fail(problem)
    return content


def _wrong_value(content: dict[str, Any]) -> str | None:
    def texts(value: Any, *keys: str) -> bool:
        return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in keys)

    clauses, expires = content["clauses"], content["expires"]
    rules = {
        "teacher must hold spec, and digest or null": texts(content["teacher"], "spec")
        and isinstance(content["teacher"].get("digest"), str | None),
        "licence must hold id and text_sha256": texts(content["licence"], "id", "text_sha256"),
        "clauses must be a list of {quote, about}": isinstance(clauses, list)
        and all(texts(clause, "quote", "about") for clause in clauses),
        f"scope must be one of: {', '.join(_SCOPES)}": content["scope"] in _SCOPES,
        f"verdict must be one of: {', '.join(_VERDICTS)}": content["verdict"] in _VERDICTS,
        "duties must be a list of sentences": isinstance(content["duties"], list)
        and all(isinstance(duty, str) for duty in content["duties"]),
        "expires must be null or a date YYYY-MM-DD": expires is None or _is_date(expires),
        "approver must be a name": isinstance(content["approver"], str),
    }
    return next((sentence for sentence, holds in rules.items() if not holds), None)


def _is_date(value: Any) -> bool:
    try:
        datetime.date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _judge(content: dict[str, Any], path: Path) -> tuple[Verdict, str]:
    """Return the verdict that the file supports: a yes without its evidence is unknown."""
    declared: Verdict = content["verdict"]
    if declared in ("deny", "unknown"):
        return declared, "as declared"
    licence = content["licence"]
    missing = [
        name
        for name, value in {
            "licence.id": licence["id"],
            "licence.text_sha256": licence["text_sha256"],
            "a quoted clause": any(clause["quote"].strip() for clause in content["clauses"]),
            "approver": content["approver"].strip(),
        }.items()
        if not value
    ]
    if missing:
        return "unknown", f"declared {declared} without: {', '.join(missing)}"
    if declared == "permit-with-duties" and not content["duties"]:
        return "unknown", "declared permit-with-duties without a duty"
    changed = _licence_changed(licence, path)
    if changed:
        return "unknown", changed
    return ("permit-with-duties" if content["duties"] else "permit"), "as declared"


def _licence_changed(licence: dict[str, Any], path: Path) -> str | None:
    if licence.get("text_file") is None:
        return None
    text = path.parent / licence["text_file"]
    if not text.is_file():
        return f"the licence text {text} is missing"
    wanted = licence["text_sha256"].removeprefix("sha256:")
    if file_digest(text).removeprefix("sha256:") != wanted:
        return f"the licence text {text} is not the one with digest {licence['text_sha256']}"
    return None


def _same_subject(recipe: Recipe, spec: str) -> bool:
    """Say whether the permission's specifier names the recipe's teacher; the file system helps."""
    from auditor.models.specifier import parse

    if spec == recipe.teacher:
        return True
    try:
        named, taught = parse(recipe.subject(spec)), parse(recipe.subject(recipe.teacher or ""))
    except InputError:
        return False
    return named.canonical == taught.canonical


if __name__ == "__main__":
    sys.stdout.write(pretty_json(template(sys.argv[1] if len(sys.argv) > 1 else "SPEC")).decode())
