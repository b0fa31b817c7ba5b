from . import (
    bench as bench,
    calibration as calibration,
    claims as claims,
    compare as compare,
    tables as tables,
    wall as wall,
)
