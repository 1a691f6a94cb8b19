"""The optimizers of L_match and L_rec, their learning rates and schedule."""

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
    """Training steps: updates of the host by L_match, and as many of CSR by L_rec, with any model.dpid.schedule."""
    epochs: PositiveFloat | None = None
    """Passes over the training videos, in place of `steps`: before a training they are turned into `steps`, which alone
    count from there on, and recipe.json has no epochs. A pass is as many videos as there are: pairs are drawn, so a
    video may come twice. None: `steps` as given."""
    accumulate: PositiveInt = 1
    """Gradient accumulation: batches whose gradients are averaged for one update."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """adam adds weight decay to the gradient, as the hosts' public code does; adamw decays the weights themselves."""
    host_lr: PositiveFloat = 5e-5
    """Learning rate of the host."""
    lr: PositiveFloat = 5e-4
    """Learning rate of the new modules: KSM, CSR, localization head."""
    weight_decay: NonNegativeFloat = 1e-3
    """Weight decay; of the new modules only, if host_weight_decay is given."""
    host_weight_decay: NonNegativeFloat | None = None
    """Weight decay of the host, whose gradients are means over a batch and over `accumulate`; weight_decay if not
    given."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Adam's betas; of the new modules only, if host_betas is given."""
    host_betas: tuple[Beta, Beta] | None = None
    """Adam's betas of the host; betas if not given."""
    clip: PositiveFloat | None = 10.0
    """Gradient clipping: largest norm of the gradient of L_match, and of that of L_rec. None: no clipping."""
    warmup: NonNegativeInt = 0
    """Steps over which the learning rates rise linearly from 0."""
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    """Schedule of both learning rates after the warm-up: constant, cosine (ends at 0), or steps (see milestones)."""
    milestones: tuple[tuple[Share, PositiveFloat], ...] = ()
    """schedule=steps: pairs of a share of `steps` (rising) and the factor on the initial learning rates from there
    on."""
    ema_eval: bool = False
    """Evaluate the moving average of the weights (model.head.pseudo_labels.teacher_decay) instead of the last ones."""
    precision: Literal["no", "tf32", "bf16"] = "no"
    """Precision of the forward pass: no = float32; tf32 = float32 with TF32 matrix products, on CUDA only; bf16 = mixed
    precision. Losses, gates and positions are always float32."""
    device: Annotated[DeviceName, RUN_ONLY] = "auto"
    """Device; auto = a GPU or another accelerator if there is one, else the CPU."""
    log_every: Annotated[PositiveInt, RUN_ONLY] = 50
    """Steps from one line of metrics.jsonl to the next; a line holds means over them."""
    checkpoint_every: Annotated[PositiveInt, RUN_ONLY] = 500
    """Steps from one checkpoint to the next."""
    tensorboard: Annotated[bool, RUN_ONLY] = True
    """Write TensorBoard events beside metrics.jsonl, if TensorBoard is installed."""
    wandb: Annotated[bool, RUN_ONLY] = False
    """Also log to Weights & Biases (`pip install wandb`; WANDB_MODE=offline needs no account)."""
    mlflow: Annotated[bool, RUN_ONLY] = False
    """Also log to MLflow (`pip install mlflow`; MLFLOW_TRACKING_URI says where)."""

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
    """One optimizer for L_match (host, KSM, head) and, if there is a CSR, one for L_rec."""
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
    """Parameter group with one set of settings; `base_lr` is the learning rate that the schedule scales."""
    return {"params": [p for module in modules for p in module.parameters()], "base_lr": settings["lr"], **settings}


def rate_factor(step: int, recipe: LoopRecipe) -> float:
    """Factor on both learning rates at `step` of `recipe.steps`. It depends on the step alone, so there is no scheduler
    state to save."""
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
    """Norm of the gradient of an optimizer's parameters; the gradient is then clipped to `clip`."""
    gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if clip is not None:
        nn.utils.clip_grads_with_norm_(_parameters(optimizer), clip, norm)
    return norm


def take_step(optimizer: Optimizer, *, factor: float) -> None:
    """Step at `factor` times the learning rates, and clear the gradients."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["base_lr"]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
