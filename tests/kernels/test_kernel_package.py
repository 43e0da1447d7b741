"""The public face of the kernel package."""

import subprocess
import sys

import pytest

import auditor.kernels


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, auditor.kernels; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_every_public_name_resolves_to_what_it_names() -> None:
    for name in auditor.kernels.__all__:
        assert getattr(auditor.kernels, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'agrement'"):
        auditor.kernels.agrement  # noqa: B018
