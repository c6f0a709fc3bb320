"""The fuzz targets, by name."""

from tests.fuzz.targets import control, header, overlay, payload, rtcp, rtp
from tests.fuzz.targets.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        header.TARGET,
        overlay.TARGET,
        control.TARGET,
        rtp.TARGET,
        rtcp.TARGET,
        payload.H264,
        payload.H265,
        payload.OPUS,
        payload.VP8,
        payload.VP9,
        payload.AV1,
        payload.DEPENDENCIES,
    )
}

__all__ = ["TARGETS", "Target"]
