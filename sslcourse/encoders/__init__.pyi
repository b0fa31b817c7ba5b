from . import (
    films as films,
    images as images,
    scattering as scattering,
    sequences as sequences,
    sounds as sounds,
)
from .films import (
    BasicBlock3d as BasicBlock3d,
    BlockEncoder as BlockEncoder,
    ClipEncoder as ClipEncoder,
    FilmEncoder as FilmEncoder,
    RepeatedBorder3d as RepeatedBorder3d,
    mc3_18 as mc3_18,
    r2plus1d_18 as r2plus1d_18,
    resnet18_2d3d as resnet18_2d3d,
    small_3d as small_3d,
    small_clip as small_clip,
    small_mc3 as small_mc3,
)
from .images import (
    DenseEncoder as DenseEncoder,
    Encoder as Encoder,
    FrozenStage as FrozenStage,
    Stages as Stages,
    StandardisedConv2d as StandardisedConv2d,
    StandardisedLinear as StandardisedLinear,
    dense_cnn as dense_cnn,
    dense_resnet18 as dense_resnet18,
    first_filters as first_filters,
    group_norm as group_norm,
    parameters as parameters,
    random_encoder as random_encoder,
    resnet18 as resnet18,
    small_cnn as small_cnn,
    standardised as standardised,
    with_frozen as with_frozen,
)
from .sequences import (
    ConvGRU as ConvGRU,
    FrameLSTM as FrameLSTM,
    Patches as Patches,
    Percepts as Percepts,
    Pixels as Pixels,
    patch_lstm as patch_lstm,
    pixel_lstm as pixel_lstm,
)
from .sounds import (
    MelEncoder as MelEncoder,
    resnet18_mel as resnet18_mel,
    small_mel as small_mel,
)
