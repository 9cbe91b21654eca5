"""AdamW whose state is known by the names of the parameters."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Tuple

import numpy as np
import paddle

from passl.optim.groups import GroupRule, group_parameters
from passl.utils.errors import UserError
from passl.utils.registry import OPTIMIZERS

# Paddle's names of what AdamW keeps per parameter; a parameter `w` has `<generated name of w>_moment1_0` and so on.
_STATE = ("moment1_0", "moment2_0", "beta1_pow_acc_0", "beta2_pow_acc_0")


@OPTIMIZERS.register()
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), by Paddle's kernel.

    Paddle keys the optimizer's state by generated variable names, which change with the order in which layers are built;
    here the state goes in and out under the parameters' own names.

    Args:
        lr: peak rate.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        weight_decay: decay of everything that has two or more dimensions; norms, biases, vectors and the temperature
            have none.
        base_batch_size: the global batch that `lr` is stated for; the rate used is lr · global batch ÷ this. With null,
            `lr` is used as it is.
        clip_grad_norm: largest global norm of the gradient; larger gradients are scaled down to it. Null: no clipping.
        groups: rules for parts of the model; the section `AdamW.groups` says what is in one.
    """

    def __init__(
        self,
        parameters: Mapping[str, paddle.Tensor],
        global_batch_size: int,
        /,
        lr: float,
        betas: Tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.2,
        base_batch_size: Optional[int] = None,
        clip_grad_norm: Optional[float] = None,
        groups: List[GroupRule] = [],  # noqa: B006 (never changed)
    ) -> None:
        for key, value, least in (("lr", lr, 0), ("eps", eps, 0), ("weight_decay", weight_decay, 0)):
            if value < least:
                raise UserError(f"optimizer.{key} is {value}; it may not be negative")
        if not all(0 <= beta < 1 for beta in betas):
            raise UserError(f"optimizer.betas are {list(betas)}; each lies in [0, 1)")
        for key, value in (("base_batch_size", base_batch_size), ("clip_grad_norm", clip_grad_norm)):
            if value is not None and value <= 0:
                raise UserError(f"optimizer.{key} is {value}; it is positive, or null")
        self.peak_lr = lr if base_batch_size is None else lr * global_batch_size / base_batch_size
        self.clip_grad_norm = clip_grad_norm
        grouped, self.frozen = group_parameters(
            parameters, weight_decay, [GroupRule(**rule) if isinstance(rule, dict) else rule for rule in groups]
        )
        self.parameters = {name: tensor for name, tensor in parameters.items() if not tensor.stop_gradient}
        # What was loaded and not yet used: Paddle 2.6.2 keeps it out of sight until the first step.
        self._loaded: Dict[str, np.ndarray] = {}
        self._optimizer = paddle.optimizer.AdamW(
            learning_rate=self.peak_lr,
            beta1=betas[0],
            beta2=betas[1],
            epsilon=eps,
            weight_decay=0.0,
            parameters=grouped,
        )

    def step(self, lr: float) -> None:
        """Updates the parameters from their gradients at the rate `lr` and forgets the gradients."""
        self._optimizer.set_lr(lr)
        self._optimizer.step()
        self._loaded = {}
        self.clear_gradients()

    def clear_gradients(self) -> None:
        """Forgets the gradients."""
        self._optimizer.clear_grad(set_to_zero=False)

    def state_arrays(self) -> Dict[str, np.ndarray]:
        """Both moments and both powers of the betas, named `<kind>/<parameter>`; empty before the first step."""
        if self._loaded:
            return dict(self._loaded)
        state = self._optimizer.state_dict()
        names = {tensor.name: name for name, tensor in self.parameters.items()}
        arrays = {}
        for generated, name in names.items():
            for kind in _STATE:
                if f"{generated}_{kind}" in state:
                    arrays[f"{kind}/{name}"] = state[f"{generated}_{kind}"].numpy()
        return arrays

    def load_state_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `state_arrays` gave. Raises `UserError` where names or shapes do not fit the parameters."""
        state = {}
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            if kind not in _STATE or name not in self.parameters:
                raise UserError(f"the optimizer's state has {key!r}, which this model has no trainable parameter for")
            parameter = self.parameters[name]
            if kind.startswith("moment") and list(array.shape) != list(parameter.shape):
                raise UserError(
                    f"the optimizer's state {key!r} has shape {list(array.shape)}, the parameter {list(parameter.shape)}"
                )
            state[f"{parameter.name}_{kind}"] = paddle.to_tensor(array)
        wanted = [f"{kind}/{name}" for kind in _STATE for name in self.parameters]
        missing = [key for key in wanted if key not in arrays]
        if missing and arrays:
            raise UserError(f"the optimizer's state lacks {', '.join(missing[:10])}")
        self._optimizer.set_state_dict(state)
        self._loaded = dict(arrays)
