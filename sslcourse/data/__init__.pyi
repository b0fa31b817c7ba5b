from . import (
    captions as captions,
    clips as clips,
    datasets as datasets,
    download as download,
    folders as folders,
    heard as heard,
    images as images,
    load as load,
    moving_digits as moving_digits,
    sets as sets,
    single_image as single_image,
    toybox as toybox,
)
