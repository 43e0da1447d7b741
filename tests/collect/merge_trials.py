"""Merges of known shares, and what the decomposition makes of them."""

from dataclasses import dataclass

import numpy as np
import torch

from auditor.collect.merging import Candidate, align_candidates, mixture_rows
from auditor.controls.transforms_merging import Merge, angle_between, merged, slerp_shares
from auditor.controls.transforms_symmetry import permuted
from auditor.controls.transforms_weights import weights_of, with_weights
from auditor.measures._mixture import solve_mixture
from auditor.measures.merge_share import block_interval, merge_share
from auditor.models.anatomy import anatomy_of
from auditor.outputs import OutputSet, Pair
from auditor.types import Access, ModelRef, Probe

METHODS = ("linear", "slerp", "ties", "dare")


class InMemory:
    """The weights of a module, read as those of a file are."""

    def __init__(self, module):
        self._weights = {
            name.removeprefix("model.").removeprefix("transformer."): value.detach()
            for name, value in module.named_parameters()
        }
        self.shapes = {name: tuple(value.shape) for name, value in self._weights.items()}

    def stored_type(self, name):
        return {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[
            self._weights[name].dtype
        ]

    def read(self, name):
        return self._weights[name]


def llama(seed, *, width=48, layers=2):
    import transformers as t

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return t.LlamaForCausalLM(
            t.LlamaConfig(
                vocab_size=259,
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=layers,
                num_attention_heads=4,
                num_key_value_heads=2,
                bos_token_id=256,
                eos_token_id=257,
                pad_token_id=258,
            )
        )


def tuned(module, size, seed):
    """Return a fine-tune by noise: `size` is its length relative to each tensor's."""
    random = torch.Generator().manual_seed(seed)
    weights = weights_of(module)
    return with_weights(
        module,
        {
            name: value
            + size * value.square().mean().sqrt() * torch.randn(value.shape, generator=random)
            for name, value in weights.items()
        },
    )


@dataclass
class Found:
    """What the measure says of a suspect."""

    share: float
    low: float
    high: float
    parents: dict


def decomposed(suspect, candidates, *, resamples=200):
    """Return the mixture of named modules in a suspect; the first is the reference."""
    files = InMemory(suspect)
    listed = [Candidate(i, name, InMemory(one)) for i, (name, one) in enumerate(candidates.items())]
    anatomy = anatomy_of(files.shapes, suspect.config.to_dict())
    aligned = align_candidates(files, listed, anatomy).candidates
    names = tuple(one.name for one in aligned)
    pair = pair_with(mixture_rows(files, aligned), names)
    low, high = block_interval(pair, 0, resamples)
    means = solve_mixture(pair.merge, names).mean.tolist()
    return Found(merge_share(pair), low, high, dict(zip(names, means, strict=True)))


def pair_with(rows, parents):
    """Return a pair that holds nothing but stored inner products."""
    probe = Probe(id="p", category="c", text="t")
    side = OutputSet(subject="s", model=ModelRef(spec="s", access=Access.WEIGHTS), probes=(probe,))
    return Pair(reference=side, suspect=side, merge=rows, parents=parents)


@dataclass
class Trial:
    """One merge: how it was made, and what was found of its first parent."""

    method: str
    moved: bool
    meant: float
    """Its weight; TIES has none of its own: as `held`."""
    held: float
    """Its share in the merged weights, see `held_share`."""
    found: Found

    @property
    def error(self):
        return abs(self.found.share - self.held)

    @property
    def covered(self):
        return self.found.low <= self.meant <= self.found.high


def trial(number, **shape):
    """Return the outcome of merge `number`: method, shares, noise and order follow from it."""
    random = np.random.RandomState(number)
    method = METHODS[number % 4]
    base = llama(1000 + number, **shape)
    a = tuned(base, random.uniform(0.03, 0.2), 2 * number)
    unlike = method in ("linear", "slerp") and random.random_sample() < 0.5
    b = llama(5000 + number, **shape) if unlike else tuned(base, 0.1, 2 * number + 1)
    first = round(random.uniform(0.2, 0.8), 3)
    how = Merge(
        method=method,
        weights=(first, 1 - first),
        dropped=random.uniform(0.2, 0.6) if method in ("ties", "dare") else None,
        seed=number,
    )
    ground = base if method in ("ties", "dare") else None
    suspect = merged((a, b), how, ground)
    moved = bool(random.random_sample() < 0.5)
    if moved:
        suspect = permuted(suspect, "all", number)
    candidates = {"a": a, "b": b, "unrelated": llama(9000 + number, **shape)}
    if ground is not None:
        candidates["base"] = base
    found = decomposed(suspect, candidates)
    held = held_share((a, b), how, ground)
    meant = {"linear": first, "dare": first}.get(method, held)
    return Trial(method, moved, meant, held, found)


def held_share(parents, how, base):
    """Return the share of the first parent in a merge, averaged over the elements of its matrices.

    Linear: its weight. Slerp: its linear factor over the sum of both, tensor by tensor. TIES and
    DARE: the factor of its task vector, by least squares in each matrix; DARE drops at random, so
    what is held strays around what was meant.
    """
    if how.method == "linear":
        return how.weights[0]
    a, b = (weights_of(parent) for parent in parents)
    done = weights_of(merged(parents, how, base))
    ground = None if base is None else weights_of(base)
    shares, sizes = [], []
    for name, weight in a.items():
        if weight.ndim < 2:
            continue
        if ground is None:
            one, two = slerp_shares(how.weights[1], angle_between(weight, b[name]))
            share = one / (one + two)
        else:
            tasks = [(w[name] - ground[name]).double().flatten() for w in (a, b, done)]
            share = float(torch.linalg.lstsq(torch.stack(tasks[:2], 1), tasks[2]).solution[0])
        shares.append(share)
        sizes.append(weight.numel())
    return float(np.average(shares, weights=sizes))


def summary(trials):
    """Return (largest error, mean error, share of intervals that hold the truth)."""
    errors = [one.error for one in trials]
    return max(errors), float(np.mean(errors)), float(np.mean([one.covered for one in trials]))
