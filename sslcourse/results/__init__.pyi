from . import (
    bench as bench,
    calibration as calibration,
    claims as claims,
    compare as compare,
    papers as papers,
    tables as tables,
    wall as wall,
)
