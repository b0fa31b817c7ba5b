from . import (
    device as device,
    distributed as distributed,
    doctor as doctor,
    errors as errors,
    files as files,
    numbers as numbers,
    options as options,
    pages as pages,
    precision as precision,
    progress as progress,
    seeds as seeds,
    setup as setup,
    shapes as shapes,
    signals as signals,
    text as text,
)
from .device import (
    Profile as Profile,
    best_device as best_device,
    computing_on as computing_on,
    free as free,
    keep_memory as keep_memory,
    laid_out as laid_out,
    measure_profile as measure_profile,
    placed as placed,
    profile as profile,
    synchronize as synchronize,
    use_profile as use_profile,
)
from .errors import (
    CourseError as CourseError,
)
from .files import (
    atomic as atomic,
    cache_dir as cache_dir,
    data_dir as data_dir,
    prove as prove,
)
from .numbers import (
    as_whole as as_whole,
)
from .options import (
    override as override,
)
from .precision import (
    moments as moments,
    precise as precise,
    standardised as standardised,
    unit as unit,
)
from .seeds import (
    generator as generator,
    seed_all as seed_all,
    step_seed as step_seed,
)
