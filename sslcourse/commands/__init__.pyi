from . import (
    evaluate as evaluate,
    options as options,
    parser as parser,
    results as results,
    teach as teach,
    train as train,
)
