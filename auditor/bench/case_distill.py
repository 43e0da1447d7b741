"""One optimizer step of distillation: six layers of a teacher learn its distribution by forward KL.

The learning rate is 0, so that every step starts from the same weights: the work is the same, and
losses can be compared. Memory is what a step needs beyond models, gradients and optimizer state.
"""

import copy
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auditor.bench import peers_trl
from auditor.bench.bars import faster, smaller
from auditor.bench.experiment import OURS, Candidate, Experiment, Outputs, Run, Settings
from auditor.bench.training import adamw, scratch
from auditor.distill.batches import MicroBatches, plan_steps
from auditor.distill.corpus import generate_corpus
from auditor.distill.objective import Objective, Teacher
from auditor.distill.recipe_method import Method
from auditor.distill.recipe_train import Train
from auditor.distill.sequences import Sequences, document_rows, sequences
from auditor.distill.student import shrunk_module
from auditor.errors import KernelUnavailableError, SubjectError
from auditor.models.loading import load_transformers
from auditor.models.unembedding import head_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_K = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """A teacher, sequences to train on, and how large a student is."""

    module: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    store: Sequences
    """Those of one step."""
    layers: int

    @property
    def tokens(self) -> int:
        """Inputs of a step."""
        return int(self.store.lengths.sum())

    def student(self) -> "PreTrainedModel":
        """Return some layers of the teacher, spread evenly."""
        return shrunk_module(self.module, self.layers)[0]

    def teacher(self) -> Teacher:
        """Return the teacher, frozen."""
        module = self.module.train(False).requires_grad_(False)
        return Teacher(module=module, head=head_of(module, self.vocabulary))

    @property
    def vocabulary(self) -> int:
        """V."""
        return int(self.module.config.get_text_config().vocab_size)


@cache
def _world(small: bool) -> World:
    """Return smollm2 and 2 sequences of 256 tokens; a tiny teacher for a check of the bench."""
    spec, layers, length, count = ("tiny:teacher", 1, 24, 2) if small else ("smollm2", 6, 256, 2)
    try:
        loaded = load_transformers(spec, device="cpu", dtype="float32")
    except SubjectError as error:
        raise KernelUnavailableError(error.message, hint=error.hint) from error
    texts = list(generate_corpus("stories", seed=4, documents=60))
    rows = islice(document_rows(texts, loaded.tokenizer, length, packing=True), count)
    return World(
        module=loaded.module, tokenizer=loaded.tokenizer, store=sequences(rows), layers=layers
    )


def step(settings: Settings) -> Experiment:
    """Forward, backward and optimizer, with the teacher beside the student or captured before."""
    world = _world(settings.small)
    online = f"{OURS} teacher online"
    caches = [f"{OURS} cache {scheme}" for scheme in ("dense", f"pps {_K}")]
    return Experiment(
        title="a step of distillation by forward KL, float32",
        shape={"tokens": world.tokens, "V": world.vocabulary, "layers": world.layers},
        candidates=(
            Candidate(name=online, computes="loss, all gradients", prepare=lambda: _ours(world)),
            Candidate(
                name=caches[0],
                computes="loss, all gradients",
                prepare=lambda: _ours(world, {"scheme": "dense", "dtype": "float32"}),
            ),
            Candidate(
                name=caches[1],
                computes="an unbiased estimate of both",
                prepare=lambda: _ours(world, {"scheme": "pps", "k": _K}),
            ),
            peers_trl.gkd_step(world.student, world.module, world.tokenizer, world.store),
        ),
        truth=lambda: _truth(world),
        bars=(
            faster(online, peers_trl.GKD, 1.3),
            *(faster(name, peers_trl.GKD, 1.8) for name in caches),
            smaller(online, peers_trl.GKD, 0.35),
        ),
    )


def _ours(world: World, choice: dict[str, Any] | None = None) -> Run:
    """Return a step of our trainer, which reads its batch and, if captured, the teacher's rows."""
    from auditor.distill.trainer import StudentTrainer, training_arguments

    student = world.student()
    method = Method.model_validate({"kind": "logits", "cache": choice})
    teacher: Teacher | None = world.teacher()
    plan = plan_steps(world.store, steps=1, batch_tokens=world.tokens, parts=1, seed=0)
    captured = None
    if choice is not None and teacher is not None:
        captured = _captured(world, teacher, method)
        teacher = Teacher(module=None, head=teacher.head)
    batches = MicroBatches(world.store, plan, captured)
    folder = scratch()
    trainer = StudentTrainer(
        student,
        training_arguments(Train(steps=1), folder, save_every=1),
        sum_of_losses=Objective(method, head_of(student, world.vocabulary), teacher),
        batches=batches,
    )
    optimizer = adamw(student)
    sampled = choice is not None and choice["scheme"] != "dense"

    def run() -> Outputs:
        optimizer.zero_grad(set_to_none=False)
        loss = trainer.training_step(student, batches[0])
        optimizer.step()
        return {"loss_sampled" if sampled else "loss": loss.detach()}

    return run


def _captured(world: World, teacher: Teacher, method: Method) -> Any:
    """Return the rows of a cache in a folder of the system's temporary files."""
    from auditor.distill.cache import Identity, LogitCache
    from auditor.distill.capture import capture, captured_tokens
    from auditor.distill.captured import CapturedTeacher
    from auditor.progress import Silent

    choice = method.cache
    if choice is None:
        raise RuntimeError("nothing to capture for")
    dense = choice.scheme == "dense"
    identity = Identity(
        teacher="bench",
        tokenizer="bench",
        vocabulary=world.vocabulary,
        scheme=choice.scheme,
        k=0 if dense else choice.k,
        temperature=1.0,
        dtype=choice.dtype if dense else "packed",
        seed=0,
    )
    found = LogitCache(scratch(), identity)
    rows = list(range(len(world.store)))
    with Silent().task("capture", world.tokens) as task:
        capture(
            found,
            partial(captured_tokens, teacher),
            world.store,
            rows,
            max_bytes=1 << 40,
            task=task,
        )
    return CapturedTeacher(found, world.store)


def _truth(world: World) -> Outputs:
    """Return the mean forward KL over targets in float64, plainly, whole and as it was sampled."""
    student, teacher = (copy.deepcopy(m).double() for m in (world.student(), world.module))
    method = Method.model_validate({"kind": "logits", "cache": {"scheme": "pps", "k": _K}})
    sampled = _captured(world, world.teacher(), method)
    whole, estimate, count = 0.0, 0.0, 0
    for row in range(len(world.store)):
        ids = torch.from_numpy(world.store.row(row).astype("int64"))[None, :-1]
        with torch.no_grad():
            own, of_teacher = (_log_probabilities(m, ids) for m in (student, teacher))
        whole += float((of_teacher.exp() * (of_teacher - own)).sum())
        kept = sampled.batch([row])
        weighed = kept["targets_weights"].double() * own.gather(1, kept["targets_ids"])
        estimate -= float(weighed.sum() + kept["targets_entropy"].double().sum())
        count += ids.shape[1]
    values = {"loss": whole / count, "loss_sampled": estimate / count}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def _log_probabilities(module: "PreTrainedModel", ids: Tensor) -> Tensor:
    found: Any = module(input_ids=ids)
    return torch.log_softmax(found.logits[0], 1)


EXPERIMENTS = {"step": step}
