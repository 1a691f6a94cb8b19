"""How the weights move: two optimizers, their rates and their schedule."""

import math
from typing import Annotated, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer

from cache.recipe import RUN_ONLY, Recipe
from training.devices import DeviceName
from training.distillation import Phase
from training.model import Mllm4Wtal


class LoopRecipe(Recipe):
    """Steps, optimizers, logs and checkpoints."""

    steps: PositiveInt = 5000
    """Updates of the host by L_match, and as many of CSR by L_rec, whatever turns they take (model.dpid.schedule)."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are averaged for one update."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """adam adds weight decay to the gradient, as the hosts' public code does; adamw decays the weights themselves."""
    host_lr: PositiveFloat = 5e-5
    """Learning rate of the host."""
    lr: PositiveFloat = 5e-4
    """Learning rate of the new modules: KSM, CSR, localization head."""
    weight_decay: NonNegativeFloat = 1e-3
    """Weight decay of every parameter."""
    clip: PositiveFloat | None = 10.0
    """Largest norm of the gradient of L_match, and of L_rec; longer ones are scaled down to it."""
    warmup: NonNegativeInt = 0
    """Steps over which the rates rise linearly from 0."""
    schedule: Literal["constant", "cosine"] = "constant"
    """What the rates do after the warm-up; cosine ends at 0."""
    ema_eval: bool = False
    """Evaluate the moving average of the weights (model.head.pseudo_labels.teacher_decay) rather than the last ones."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision of the forward pass."""
    device: Annotated[DeviceName, RUN_ONLY] = "auto"
    """auto: an accelerator where there is one."""
    log_every: Annotated[PositiveInt, RUN_ONLY] = 50
    """Steps from one line of metrics.jsonl to the next; a line holds the means over them."""
    checkpoint_every: Annotated[PositiveInt, RUN_ONLY] = 500
    """Steps from one checkpoint to the next."""
    tensorboard: Annotated[bool, RUN_ONLY] = True
    """Write TensorBoard events beside metrics.jsonl, where TensorBoard is installed."""
    wandb: Annotated[bool, RUN_ONLY] = False
    """Log to Weights & Biases, too (`pip install wandb`; WANDB_MODE=offline needs no account)."""
    mlflow: Annotated[bool, RUN_ONLY] = False
    """Log to MLflow, too (`pip install mlflow`; MLFLOW_TRACKING_URI says where)."""


BRANCHES: dict[Phase, tuple[str, ...]] = {
    "match": ("match",),
    "reconstruct": ("reconstruct",),
    "joint": ("match", "reconstruct"),
}
"""Which optimizers step in each phase."""


def build_optimizers(model: Mllm4Wtal, recipe: LoopRecipe) -> dict[str, Optimizer]:
    """One optimizer for L_match (host, KSM, head) and, where there is a CSR, one for L_rec."""
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    shared = {"weight_decay": recipe.weight_decay, "fused": True}
    new = [module for module in (model.ksm, model.head) if module is not None]
    groups = [
        {"params": list(model.host.parameters()), "lr": recipe.host_lr, "base_lr": recipe.host_lr},
        {"params": [p for module in new for p in module.parameters()], "lr": recipe.lr, "base_lr": recipe.lr},
    ]
    optimizers: dict[str, Optimizer] = {"match": kind([group for group in groups if group["params"]], **shared)}
    if model.csr is not None:
        group = {"params": list(model.csr.parameters()), "lr": recipe.lr, "base_lr": recipe.lr}
        optimizers["reconstruct"] = kind([group], **shared)
    return optimizers


def rate_factor(step: int, recipe: LoopRecipe) -> float:
    """What the learning rates are multiplied by at `step`: a function of the step alone, so there is no state to
    save."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    if recipe.schedule == "constant":
        return 1.0
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def gradient_norm(optimizer: Optimizer, *, clip: float | None) -> Tensor:
    """Norm of the gradient of an optimizer's parameters, which is then scaled down to `clip`."""
    gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if clip is not None:
        nn.utils.clip_grads_with_norm_(_parameters(optimizer), clip, norm)
    return norm


def take_step(optimizer: Optimizer, *, factor: float) -> None:
    """Step at `factor` of the rates, and clear the gradients."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["base_lr"]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
