from . import (
    charts as charts,
    code as code,
    diagrams as diagrams,
    films as films,
    look as look,
    results_wall as results_wall,
    sheets as sheets,
    tables as tables,
)
from .charts import (
    bars as bars,
    curve as curve,
    embedding as embedding,
    factor_table as factor_table,
    gauge as gauge,
    health as health,
    history as history,
    scatter as scatter,
    similarity as similarity,
)
from .code import (
    idea as idea,
    source as source,
)
from .diagrams import (
    DIAGRAMS as DIAGRAMS,
    Diagram as Diagram,
    Diagrams as Diagrams,
    diagram as diagram,
)
from .films import (
    KIND_COLOURS as KIND_COLOURS,
    dense_scores as dense_scores,
    flow as flow,
    in_step as in_step,
    kinds_tile as kinds_tile,
    match as match,
    plane as plane,
)
from .look import (
    COLOURS as COLOURS,
    DPI as DPI,
    INK as INK,
    MARKERS as MARKERS,
    MOST_BYTES as MOST_BYTES,
    RIGHT as RIGHT,
    SOFT as SOFT,
    WIDTH as WIDTH,
    WRONG as WRONG,
    Picture as Picture,
    encode_png as encode_png,
    enlarge as enlarge,
    png as png,
    to_uint8 as to_uint8,
)
from .results_wall import (
    intervals as intervals,
    verdicts as verdicts,
    wall as wall,
)
from .sheets import (
    filters as filters,
    grid as grid,
    neighbours as neighbours,
    views as views,
)
from .tables import (
    Table as Table,
    table as table,
)
