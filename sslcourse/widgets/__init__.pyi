from . import (
    captions as captions,
    explorers as explorers,
    films as films,
    frame as frame,
    gallery as gallery,
    live as live,
    maps as maps,
    puzzle as puzzle,
    quizzes as quizzes,
    recording as recording,
    replay as replay,
    strips as strips,
    video as video,
    views as views,
)
from .captions import (
    text_box as text_box,
)
from .explorers import (
    augmentations as augmentations,
    temperature as temperature,
    toybox as toybox,
)
from .films import (
    Films as Films,
)
from .gallery import (
    filters as filters,
)
from .live import (
    Panel as Panel,
    align as align,
    map2d as map2d,
)
from .maps import (
    clusters as clusters,
    neighbours as neighbours,
)
from .puzzle import (
    puzzles as puzzles,
)
from .recording import (
    recorded as recorded,
)
from .replay import (
    Replay as Replay,
    side_by_side as side_by_side,
)
from .video import (
    clip as clip,
    pointer as pointer,
)
