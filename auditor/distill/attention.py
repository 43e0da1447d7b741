"""Matching of last-layer self-attention and of its value relation (MiniLM)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.distill.matching import Outputs, layers_of
from auditor.errors import AccessError, InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RELATIONS = ("query", "key", "value")
_NAMES = ("self_attn", "attn", "attention", "self_attention")
_WEIGHTS = "attention"


class AttentionMatch:
    """KL between the last layers' attention, plus KL between their relations of projections.

    MiniLM (Wang et al. 2020, arXiv 2002.10957), equations 4 to 6: KL(A_t || A_s) of the attention
    distributions, and KL(R_t || R_s) with R = softmax(V V^T / sqrt(d)), each the mean over heads,
    summed over targets. A relation runs over the positions that a position can see. Its heads may
    be cut anew (MiniLMv2, Wang et al. 2020, arXiv 2012.15828, section 3.2), which fits models of
    different head counts together; it reads projections before rotary embedding and head norms.
    """

    def __init__(
        self,
        student: "PreTrainedModel",
        teacher: "PreTrainedModel",
        *,
        attention: bool = True,
        relations: Sequence[str] = ("value",),
        heads: int | None = None,
    ) -> None:
        """Match two causal models of one tokenizer.

        Args:
            student: in training.
            teacher: frozen.
            attention: with the attention distributions; both need ``attn_implementation="eager"``
                and as many heads.
            relations: of query, key, value.
            heads: relation heads; those of the projection if None, where both models have as many.

        Raises:
            InputError: nothing to match, an unknown relation, head counts that do not fit, another
                attention implementation, or attention dropout in the student.
            AccessError: a model's attention is of no known form.
        """
        unknown = sorted(set(relations) - set(RELATIONS))
        if unknown:
            raise InputError(f"unknown relation {unknown[0]!r}", hint="choose query, key or value")
        if not attention and not relations:
            raise InputError("no attention to match", hint="keep attention, or name relations")
        self._sides = {"student": _Side(student), "teacher": _Side(teacher)}
        self._relations = tuple(relations)
        self._heads = {name: self._relation_heads(name, heads) for name in self._relations}
        self._attention = attention
        if attention:
            self._check_attention()

    @property
    def student_taps(self) -> Mapping[str, nn.Module]:
        """Attention and projections of the student's last layer."""
        return self._taps("student")

    @property
    def teacher_taps(self) -> Mapping[str, nn.Module]:
        """Those of the teacher's."""
        return self._taps("teacher")

    def total(self, student: Outputs, teacher: Outputs, batch: dict[str, Any]) -> Tensor:
        """Return the sum over the batch's targets, in nats, a scalar."""
        scored = batch["scored"]
        terms = []
        with torch.autocast(scored.device.type, enabled=False):
            if self._attention:
                own, wanted = (
                    _wide(outputs[_WEIGHTS][1]).to(scored.device) for outputs in (student, teacher)
                )
                terms.append(_attention_kl(wanted.detach(), own, scored))
            visible = _visible(batch)
            for name in self._relations:
                count = self._heads[name]
                own, wanted = (
                    _relation(self._projected(side, outputs, name), count, visible)
                    for side, outputs in (("student", student), ("teacher", teacher))
                )
                terms.append(_relation_kl(wanted.detach(), own, scored))
        return torch.stack(terms).sum()

    def _projected(self, side: str, outputs: Outputs, name: str) -> Tensor:
        """Return (B, L, width) of one projection."""
        return _wide(self._sides[side].cut(outputs, name))

    def _taps(self, side: str) -> Mapping[str, nn.Module]:
        found = self._sides[side]
        taps = {found.source(name): found.projection(name) for name in self._relations}
        return {**taps, _WEIGHTS: found.attention} if self._attention else taps

    def _relation_heads(self, name: str, heads: int | None) -> int:
        student, teacher = self._sides["student"], self._sides["teacher"]
        counts = (student.heads(name), teacher.heads(name))
        if heads is None and counts[0] != counts[1]:
            raise InputError(
                f"the student has {counts[0]} {name} heads and the teacher {counts[1]}",
                hint="give a number of relation heads that divides both widths",
            )
        count = counts[0] if heads is None else heads
        for side in (student, teacher):
            if count < 1 or side.width(name) % count:
                raise InputError(
                    f"{count} relation heads do not divide a {name} width of {side.width(name)}",
                    hint="give a number that divides the widths of both models",
                )
        return count

    def _check_attention(self) -> None:
        student, teacher = self._sides["student"], self._sides["teacher"]
        counts = (student.heads("query"), teacher.heads("query"))
        if counts[0] != counts[1]:
            raise InputError(
                f"the student has {counts[0]} attention heads and the teacher {counts[1]}",
                hint="match relations alone (attention off), with relation heads",
            )
        for name, side in self._sides.items():
            if side.implementation != "eager":
                raise InputError(
                    f"the {name}'s attention is {side.implementation}, which shows no weights",
                    hint='load it with attn_implementation="eager"',
                )
        if student.dropout > 0:
            raise InputError(
                f"the student drops {student.dropout} of its attention, which is no distribution",
                hint="set its attention dropout to 0",
            )


class _Side:
    """The last layer's attention of one model."""

    def __init__(self, module: "PreTrainedModel") -> None:
        self._config: Any = module.config.get_text_config()
        layer = layers_of(module)[-1]
        found = next((getattr(layer, name) for name in _NAMES if hasattr(layer, name)), None)
        if not isinstance(found, nn.Module):
            raise _unknown(module)
        self.attention: nn.Module = found
        self._fused = hasattr(found, "c_attn")
        if not self._fused and not all(hasattr(found, f"{name[0]}_proj") for name in RELATIONS):
            raise _unknown(module)

    @property
    def implementation(self) -> str:
        """Name of the attention implementation."""
        return str(self._config._attn_implementation)

    @property
    def dropout(self) -> float:
        """Share of attention weights dropped in training."""
        values = (getattr(self._config, name, 0.0) for name in ("attention_dropout", "attn_pdrop"))
        return max(float(value or 0.0) for value in values)

    def heads(self, name: str) -> int:
        """Return the number of heads of a projection."""
        heads = int(self._config.num_attention_heads)
        return (
            heads if name == "query" else int(getattr(self._config, "num_key_value_heads", heads))
        )

    def width(self, name: str) -> int:
        """Return the number of outputs of a projection."""
        size = getattr(self._config, "head_dim", None)
        size = size or self._config.hidden_size // self._config.num_attention_heads
        return self.heads(name) * int(size)

    def source(self, name: str) -> str:
        """Return the submodule that a projection is read from."""
        return "c_attn" if self._fused else f"{name[0]}_proj"

    def projection(self, name: str) -> nn.Module:
        """Return that submodule."""
        found: nn.Module = getattr(self.attention, self.source(name))
        return found

    def cut(self, outputs: Outputs, name: str) -> Tensor:
        """Return (B, L, width) of a projection from what its submodule returned."""
        output: Tensor = outputs[self.source(name)]
        return output.chunk(3, dim=-1)[RELATIONS.index(name)] if self._fused else output


def _unknown(module: "PreTrainedModel") -> AccessError:
    return AccessError(
        f"the attention of {type(module).__name__} is of no known form",
        hint="match hidden states instead",
    )


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _visible(batch: dict[str, Any]) -> Tensor:
    """Return (B, L, L) bool: position i (second axis) sees position j."""
    ids = batch["input_ids"]
    mask = batch.get("attention_mask")
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    return real[:, None, :].expand(-1, ids.shape[1], -1).tril()


def _relation(projected: Tensor, heads: int, visible: Tensor) -> Tensor:
    """Return (B, heads, L, L) log-probabilities of softmax(X X^T / sqrt(d)) over visible j."""
    size = projected.shape[-1] // heads
    x = projected.reshape(*projected.shape[:2], heads, size).transpose(1, 2)  # (B, heads, L, d)
    scores = x @ x.transpose(-1, -2) / size**0.5
    # Half the smallest number, not -inf: differences of two stay numbers.
    hidden = ~visible[:, None].to(scores.device)
    return scores.masked_fill(hidden, torch.finfo(scores.dtype).min / 2).log_softmax(-1)


def _relation_kl(teacher: Tensor, student: Tensor, scored: Tensor) -> Tensor:
    """Return the sum over targets of the mean over heads of KL, from (B, heads, L, L) logs."""
    kl = functional.kl_div(
        student, teacher.to(student.device), reduction="none", log_target=True
    ).sum(-1)
    return kl.mean(1)[scored].sum()


def _attention_kl(teacher: Tensor, student: Tensor, scored: Tensor) -> Tensor:
    """Return the same from (B, H, L, L) probabilities; those of the student at least `tiny`."""
    floor = torch.finfo(student.dtype).tiny
    terms = torch.special.xlogy(teacher, teacher) - teacher * student.clamp(min=floor).log()
    return terms.sum(-1).mean(1)[scored].sum()
