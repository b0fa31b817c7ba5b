from . import (
    check as check,
    data as data,
    encoders as encoders,
    evaluate as evaluate,
    methods as methods,
    results as results,
    runtime as runtime,
    show as show,
    train as train,
    transforms as transforms,
    widgets as widgets,
)
from .data import (
    single_image as single_image,
)
from .evaluate import (
    health as health,
    style_transfer as style_transfer,
    synchrony as synchrony,
    tracking as tracking,
)
from .results import (
    claims as claims,
    compare as compare,
    networks as networks,
    papers as papers,
    wall as wall,
)
from .runtime import (
    CourseError as CourseError,
    free as free,
    seed_all as seed_all,
)
from .runtime.setup import (
    setup as setup,
)
from .train import (
    Recipe as Recipe,
    checkpoints as checkpoints,
    clustering as clustering,
    epochs as epochs,
    features as features,
    fit as fit,
)
from .transforms import (
    augment as augment,
    colour as colour,
    sounds as sounds,
)

__version__: str

def front_door(package: str, file: str) -> tuple: ...
