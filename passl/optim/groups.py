"""Which parameters share a rate and a weight decay, by patterns over their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import paddle

from passl.utils.errors import UserError


@dataclass(frozen=True)
class GroupRule:
    """What holds for the parameters whose name a pattern is found in. The first rule that matches a name counts.

    Args:
        pattern: a regular expression, searched in the parameter's name, e.g. `^model.visual` or `norm`.
        lr_scale: factor on the optimizer's rate; 0 freezes the parameters.
        weight_decay: their weight decay; the optimizer's own (0 for norms, biases and vectors) when it is null.
    """

    pattern: str
    lr_scale: float = 1.0
    weight_decay: Optional[float] = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise UserError(f"pattern {self.pattern!r} is not a regular expression: {error}") from None
        if self.lr_scale < 0:
            raise UserError(f"lr_scale {self.lr_scale} of pattern {self.pattern!r} is negative; 0 freezes")


def group_parameters(
    parameters: Mapping[str, paddle.Tensor], weight_decay: float, rules: Sequence[GroupRule]
) -> Tuple[List[Dict], List[str]]:
    """Sorts trainable parameters into groups of equal rate and decay, and freezes those whose rate is 0.

    Weight decay pulls directions together, so it is off for everything that has at most one dimension: gains and biases
    of norms, biases, class embeddings, the temperature (CLIP paper, section 2.5: "decay to all weights that are not
    gains or biases").

    Returns:
        the groups as Paddle's optimizers take them (`params`, `learning_rate` as a factor, `weight_decay`), and the names
        of the frozen parameters.

    Raises:
        UserError: a pattern that is found in no parameter's name.
    """
    unmatched = {rule.pattern for rule in rules}
    groups: Dict[Tuple[float, float], List[paddle.Tensor]] = {}
    frozen = []
    for name, parameter in parameters.items():
        if parameter.stop_gradient:
            frozen.append(name)
            continue
        rule = next((rule for rule in rules if re.search(rule.pattern, name)), None)
        scale, decay = 1.0, weight_decay if len(parameter.shape) > 1 else 0.0
        if rule is not None:
            unmatched.discard(rule.pattern)
            scale, decay = rule.lr_scale, decay if rule.weight_decay is None else rule.weight_decay
        if scale == 0:
            parameter.stop_gradient = True
            frozen.append(name)
        else:
            groups.setdefault((scale, decay), []).append(parameter)
    if unmatched:
        raise UserError(
            f"no parameter's name matches the pattern {', '.join(map(repr, sorted(unmatched)))} of optimizer.groups, or an "
            f"earlier rule takes all that do; names look like {', '.join(list(parameters)[:3])}, ..."
        )
    if not groups:
        raise UserError("optimizer.groups freezes every parameter; nothing is left to train")
    return [
        {"params": tensors, "learning_rate": scale, "weight_decay": decay} for (scale, decay), tensors in groups.items()
    ], frozen
