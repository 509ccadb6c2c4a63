"""The order in which optimizers take arguments by position since tf.keras: the rate, their own options, then
those of all optimizers."""

from __future__ import annotations

_BETAS = "beta_1 beta_2 epsilon"
OWN = {
    "SGD": "momentum nesterov",
    "RMSprop": "rho momentum epsilon centered",
    "Adagrad": "initial_accumulator_value epsilon",
    "Adadelta": "rho epsilon",
    "Adam": f"{_BETAS} amsgrad",
    "AdamW": f"weight_decay {_BETAS} amsgrad",
    "Adamax": _BETAS,
    "Nadam": _BETAS,
    "Ftrl": (
        "learning_rate_power initial_accumulator_value l1_regularization_strength l2_regularization_strength "
        "l2_shrinkage_regularization_strength beta"
    ),
    "Lion": "beta_1 beta_2",
    "Lamb": _BETAS,
    "Adafactor": "beta_2_decay epsilon_1 epsilon_2 clip_threshold relative_step",
    "ScheduleFreeAdamW": f"{_BETAS} warmup_steps",
    "Muon": "adam_beta_1 adam_beta_2 adam_weight_decay epsilon",
}
COMMON = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
)
_BEHIND = {  # what some have behind the options of all
    "Muon": (
        "exclude_layers exclude_embeddings muon_a muon_b muon_c adam_lr_ratio momentum ns_steps nesterov "
        "rms_rate"
    )
}


def _orders(own: dict[str, str], last: str) -> dict[str, tuple[str, ...]]:
    """last: the last options of all optimizers."""
    made = {}
    for kind, names in own.items():
        first = ["learning_rate", *names.split()]
        common = [name for name in [*COMMON, *last.split(), "name"] if name not in first]
        made[kind] = (*first, *common, *_BEHIND.get(kind, "").split())
    return made


TF_KERAS = _orders({**OWN, "Adam": f"{_BETAS} adaptive_epsilon amsgrad"}, "jit_compile")
KERAS3 = _orders(OWN, "loss_scale_factor gradient_accumulation_steps")
