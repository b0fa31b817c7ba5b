from . import (
    colab as colab,
    data as data,
    evaluate as evaluate,
    lab as lab,
    lessons as lessons,
    options as options,
    parser as parser,
    results as results,
    teach as teach,
    train as train,
)
