"""How the weights move: two optimizers, their rates and their schedule."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from cache.recipe import RUN_ONLY, Recipe
from training.hosts.host import first_step
from training.model.distillation import Phase
from training.model.mllm4wtal import Mllm4Wtal
from training.nn.devices import DeviceName

Share = Annotated[float, Field(gt=0, lt=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


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
    """Weight decay of every parameter; of the new modules alone where the host has one of its own."""
    host_weight_decay: NonNegativeFloat | None = None
    """Weight decay of the host, beside gradients that are averaged over a batch and over `accumulate`; weight_decay
    when not given."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decays of the optimizer's averages of gradients and of their squares; of the new modules alone where the host has
    its own."""
    host_betas: tuple[Beta, Beta] | None = None
    """The same of the host; betas when not given."""
    clip: PositiveFloat | None = 10.0
    """Largest norm of the gradient of L_match, and of L_rec; longer ones are scaled down to it."""
    warmup: NonNegativeInt = 0
    """Steps over which the rates rise linearly from 0."""
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    """What both rates do after the warm-up; cosine ends at 0, steps is told by milestones."""
    milestones: tuple[tuple[Share, PositiveFloat], ...] = ()
    """Of schedule=steps: shares of `steps`, rising, and what the rates are multiplied by from each of them on."""
    ema_eval: bool = False
    """Evaluate the moving average of the weights (model.head.pseudo_labels.teacher_decay) rather than the last ones."""
    precision: Literal["no", "tf32", "bf16"] = "no"
    """Precision of the forward pass: float32; float32 with TF32 products, which only CUDA has; or mixed with bf16.
    Losses, gates and positions are float32 in each."""
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

    @model_validator(mode="after")
    def _milestones_rise(self) -> "LoopRecipe":
        shares = [share for share, _ in self.milestones]
        if shares != sorted(set(shares)):
            raise ValueError(f"milestones: found shares {shares}, expected rising ones")
        if self.schedule == "steps" and not shares:
            raise ValueError("milestones: found none, expected at least one with schedule 'steps'")
        return self


BRANCHES: dict[Phase, tuple[str, ...]] = {
    "match": ("match",),
    "reconstruct": ("reconstruct",),
    "joint": ("match", "reconstruct"),
}
"""Which optimizers step in each phase."""


def build_optimizers(model: Mllm4Wtal, recipe: LoopRecipe) -> dict[str, Optimizer]:
    """One optimizer for L_match (host, KSM, head) and, where there is a CSR, one for L_rec."""
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    host_decay = recipe.weight_decay if recipe.host_weight_decay is None else recipe.host_weight_decay
    of_host = {"lr": recipe.host_lr, "betas": recipe.host_betas or recipe.betas, "weight_decay": host_decay}
    of_new = {"lr": recipe.lr, "betas": recipe.betas, "weight_decay": recipe.weight_decay}
    new = [module for module in (model.ksm, model.head) if module is not None]
    groups = [_group([model.host], of_host), _group(new, of_new)]
    optimizers: dict[str, Optimizer] = {"match": kind([group for group in groups if group["params"]], fused=True)}
    if model.csr is not None:
        optimizers["reconstruct"] = kind([_group([model.csr], of_new)], fused=True)
    return optimizers


def _group(modules: Sequence[nn.Module], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with the same settings; `base_lr` is the rate that the schedule scales."""
    return {"params": [p for module in modules for p in module.parameters()], "base_lr": settings["lr"], **settings}


def rate_factor(step: int, recipe: LoopRecipe) -> float:
    """What both learning rates are multiplied by at `step` of `recipe.steps`: a function of the step alone, so there is
    no state to save."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    match recipe.schedule:
        case "constant":
            return 1.0
        case "cosine":
            done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
            return 0.5 * (1 + math.cos(math.pi * done))
        case "steps":
            reached = [factor for share, factor in recipe.milestones if step >= first_step(share, recipe.steps)]
            return reached[-1] if reached else 1.0


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
