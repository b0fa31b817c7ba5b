from . import (
    esc50 as esc50,
    factors as factors,
    health as health,
    maps as maps,
    optical_flow as optical_flow,
    probes as probes,
    reports as reports,
    style_transfer as style_transfer,
    synchrony as synchrony,
    tracking as tracking,
)
from .factors import (
    factor_scores as factor_scores,
    factor_table as factor_table,
)
from .maps import (
    living_map as living_map,
    tsne as tsne,
    umap as umap,
)
from .probes import (
    KNN as KNN,
    PENALTIES as PENALTIES,
    LinearProbe as LinearProbe,
    knn_predict as knn_predict,
    linear_probe as linear_probe,
    ridge_probe as ridge_probe,
)
from .reports import (
    Report as Report,
    baselines_of as baselines_of,
    fine_tune as fine_tune,
    guesses as guesses,
    label_curve as label_curve,
    layer_probes as layer_probes,
    nearest as nearest,
    nearest_neighbour as nearest_neighbour,
    probe as probe,
    random_like as random_like,
    random_rows as random_rows,
    report as report,
    retrieval as retrieval,
    score as score,
)
