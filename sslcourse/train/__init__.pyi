from . import (
    checkpoints as checkpoints,
    clustering as clustering,
    features as features,
    loop as loop,
    recipe as recipe,
    ties as ties,
)
from .loop import (
    epochs as epochs,
    fit as fit,
    line as line,
)
from .recipe import (
    OPTIMIZERS as OPTIMIZERS,
    SCHEDULES as SCHEDULES,
    Recipe as Recipe,
    constant as constant,
    cosine as cosine,
    one_cycle as one_cycle,
    optimizers_of as optimizers_of,
    settings as settings,
)
