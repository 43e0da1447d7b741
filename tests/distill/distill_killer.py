"""Run as a process of its own: distill the recipe argv[1] into argv[2] with argv[3] threads."""

import sys
from pathlib import Path

import torch

from auditor.distill.recipe import load_recipe
from auditor.distill.run import distill

if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    distill(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]))
