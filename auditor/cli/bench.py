"""`auditor bench`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import output

if TYPE_CHECKING:
    from auditor.bench.ceilings import Ceilings
    from auditor.bench.running import Finding

CASES = ("agreement", "linear", "losses", "permutation", "cka", "knn", "collect", "distill")


@click.command()
@click.argument("cases", nargs=-1, type=click.Choice(CASES), metavar="[CASE]...")
@click.option("--device", default="cpu", help="Where to compute: cpu, cuda, cuda:1.")
@click.option("--threads", type=int, default=None, help="CPU threads; all cores if not given.")
@click.option("--runs", type=int, default=5, help="Timed runs of each, after one not counted.")
@click.option(
    "--small", is_flag=True, help="Tiny shapes: a check that everything runs, in seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the JSON object here.")
def bench(
    cases: tuple[str, ...],
    device: str,
    threads: int | None,
    runs: int,
    small: bool,
    as_json: bool,
    out: Path | None,
) -> None:
    """Measure our kernels beside installed peers: time, peak memory, error against float64.

    CASE is agreement, linear, losses, permutation, cka, knn, collect or distill; all of them if
    none is named. Peers come with pip install 'auditor[bench]'; a missing one gets a row that says
    so.
    """
    from auditor.bench.ceilings import measured_ceilings
    from auditor.bench.environment import cores, environment
    from auditor.bench.experiment import Settings
    from auditor.bench.running import findings, prepare_device
    from auditor.bench.table import as_json as bench_json

    settings = Settings(
        device=device,
        threads=cores() if threads is None else threads,
        runs=runs,
        small=small,
    )
    prepare_device(settings)
    where = environment(settings)
    ceilings = measured_ceilings(settings)
    if not as_json:
        _show_start(where, ceilings)
    results = []
    for finding in findings(cases or CASES, settings, output.progress()):
        results.append(finding)
        if not as_json:
            _show(finding)
    found = bench_json(where, ceilings, results, small=small)
    if as_json:
        output.emit_json(found)
    if out is not None:
        _write(out, found)


def _show_start(where: dict[str, object], ceilings: "Ceilings") -> None:
    output.echo(
        f"{where['gpu'] or where['processor']}, {where['threads']} threads, "
        f"torch {where['torch']}, load before the start {where['load_before']}"
    )
    output.echo(
        f"ceilings: copy {ceilings.copy_bytes_per_s / 1e9:.3g} GB/s, "
        f"float32 product {ceilings.gemm_flop_per_s / 1e9:,.0f} GFLOP/s by torch, "
        f"{ceilings.product_flop_per_s / 1e9:,.0f} by ours"
    )


def _show(finding: "Finding") -> None:
    from rich.table import Table

    from auditor.bench.table import bar_line, cells, columns, heading

    output.echo("\n" + heading(finding))
    timed = finding.timed
    table = Table(*columns(timed=timed), box=None, pad_edge=False)
    for row in finding.rows:
        table.add_row(*cells(row, timed=timed))
    output.console().print(table, markup=False)
    for result in finding.bars:
        output.echo(bar_line(result))


def _write(path: Path, found: dict[str, object]) -> None:
    from auditor.case import atomic_write

    text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(path, text.encode())
