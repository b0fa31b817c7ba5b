from . import (
    augment as augment,
    colour as colour,
    sounds as sounds,
)
