"""trl: chunked divergence, loss on whole logits, logit statistics, and its trainer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auditor.bench.experiment import Candidate, Outputs, Package, Run
from auditor.bench.training import adamw, scratch
from auditor.distill.sequences import Sequences

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CHUNKED = "trl chunked_divergence"
GKD = "trl GKDTrainer"
_PACKAGE = Package(module="trl", distribution="trl")


def chunked_jsd(states: tuple[Tensor, Tensor], heads: tuple[Tensor, Tensor]) -> Candidate:
    """Return `ChunkedDivergenceFunction` with beta 1/2; arguments as for liger."""

    def prepare() -> Run:
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        function: Any = ChunkedDivergenceFunction  # untyped

        def run() -> Outputs:
            per_token, _ = function.apply(
                states[0], heads[0], None, states[1], heads[1], None, 0.5, 1.0
            )
            total = per_token.sum()
            grad_h, grad_w = torch.autograd.grad(total, (states[0], heads[0]))
            return {"loss": total.detach(), "grad_h": grad_h, "grad_w": grad_w}

        return run

    return Candidate(
        name=CHUNKED, computes="loss, both gradients, entropy", prepare=prepare, package=_PACKAGE
    )


def chunked_kl(states: tuple[Tensor, Tensor], heads: tuple[Tensor, Tensor]) -> Candidate:
    """Return the forward KL of `ChunkedDivergenceFunction`, b being the student."""

    def prepare() -> Run:
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        function: Any = ChunkedDivergenceFunction  # untyped

        def run() -> Outputs:
            with torch.no_grad():
                kl, entropy = function.apply(
                    states[1], heads[1], None, states[0], heads[0], None, 0.0, 1.0
                )
            return {"kl_ab": kl, "entropy_b": entropy}

        return run

    return Candidate(
        name=CHUNKED, computes="1 KL, 1 entropy of 22", prepare=prepare, package=_PACKAGE
    )


def logit_kl(a: Tensor, b: Tensor) -> Candidate:
    """Return the forward KL of `GKDTrainer.generalized_jsd_loss` on whole logits."""

    def prepare() -> Run:
        from trl.experimental.gkd import GKDTrainer

        trainer: Any = GKDTrainer  # untyped

        def run() -> Outputs:
            terms = trainer.generalized_jsd_loss(b, a, beta=0.0, reduction="none")
            return {"kl_ab": terms.sum(1)}

        return run

    return Candidate(
        name="trl generalized_jsd_loss", computes="KL", prepare=prepare, package=_PACKAGE
    )


def statistics(a: Tensor, b: Tensor, tokens: Tensor) -> Candidate:
    """Return entropies and log-probabilities by trl's chunked functions."""

    def prepare() -> Run:
        from trl.trainer.utils import entropy_from_logits, selective_log_softmax

        def run() -> Outputs:
            return {
                "entropy_a": entropy_from_logits(a),
                "entropy_b": entropy_from_logits(b),
                "logp_a": selective_log_softmax(a, tokens),
                "logp_b": selective_log_softmax(b, tokens),
            }

        return run

    return Candidate(
        name="trl statistics",
        computes="2 entropies, 2 log p of 22",
        prepare=prepare,
        package=_PACKAGE,
    )


def gkd_step(
    student: Callable[[], "PreTrainedModel"],
    teacher: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    store: Sequences,
) -> Candidate:
    """Return a step of `GKDTrainer` with beta 0 on given text (lmbda 0), the rest as ours."""

    def prepare() -> Run:
        module = student()
        trainer = _gkd_trainer(module, teacher, tokenizer)
        ids = torch.tensor([store.row(row).tolist() for row in range(len(store))])
        batch = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            # No label on the first token: nothing predicts it.
            "labels": torch.cat([torch.full_like(ids[:, :1], -100), ids[:, 1:]], 1),
            "prompts": ids[:, :1],
        }
        optimizer = adamw(module)
        count = torch.tensor(int(store.targets.sum()))

        def run() -> Outputs:
            optimizer.zero_grad(set_to_none=False)
            loss = trainer.training_step(module, dict(batch), num_items_in_batch=count)
            optimizer.step()
            return {"loss": loss.detach()}

        return run

    return Candidate(name=GKD, computes="loss, all gradients", prepare=prepare, package=_PACKAGE)


def _gkd_trainer(
    module: "PreTrainedModel", teacher: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast"
) -> Any:
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    config = GKDConfig(
        output_dir=str(scratch()),
        lmbda=0.0,
        beta=0.0,
        temperature=1.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to=[],
        disable_tqdm=True,
    )
    return GKDTrainer(
        model=module,
        teacher_model=teacher,
        args=config,
        train_dataset=Dataset.from_list([{"input_ids": [0]}]),
        processing_class=tokenizer,
    )
