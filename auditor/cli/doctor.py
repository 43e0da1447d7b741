"""`auditor doctor`."""

import dataclasses

import click

from auditor.cli import output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def doctor(as_json: bool) -> int:
    """Say what this machine can do and how to add what is missing.

    Exits with 2 where a part that every command needs is missing.
    """
    from auditor.doctor import examine

    findings = examine()
    if as_json:
        output.emit_json({"findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            output.echo(f"{finding.status:9} {finding.name:22} {finding.detail}")
            if finding.remedy:
                output.echo(f"{'':32} -> {finding.remedy}")
    missing = any(finding.status == "missing" for finding in findings)
    return output.BAD_INPUT if missing else output.DONE
