"""Where the data folders `probes/` and `reports/` are, in a checkout and in an installed wheel."""

from pathlib import Path
from typing import Literal

from auditor.errors import DataNotFoundError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def data_dir(name: Literal["probes", "reports"]) -> Path:
    """Return the folder `name`.

    Raises:
        DataNotFoundError: neither the installed package nor the checkout has it.
    """
    packaged = _PACKAGE / "_data" / name
    if packaged.is_dir():
        return packaged
    # site-packages may hold an unrelated "probes", so a checkout must prove itself.
    checkout = _CHECKOUT / name
    if (_CHECKOUT / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    raise DataNotFoundError(
        f"no {name}/ files: looked in {packaged} and {checkout}",
        hint="reinstall the package: pip install --force-reinstall auditor",
    )
