from . import (
    bench as bench,
    calibration as calibration,
    claims as claims,
    compare as compare,
    networks as networks,
    papers as papers,
    tables as tables,
    wall as wall,
)
