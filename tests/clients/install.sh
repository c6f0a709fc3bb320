#!/bin/sh
# Brings the clients that `make test-clients` runs, where any is missing (Debian, Ubuntu).
set -eu

packages="ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav python3-gi gir1.2-gstreamer-1.0"
elements="matroskamux h264parse h265parse opusparse clocksync rtpbin rtpfunnel rtph264pay rtph265pay rtpvp8pay rtpvp9pay \
rtpopuspay rtprtxreceive capssetter netsim udpsink"

is_there() {
    command -v ffmpeg >/dev/null && command -v gst-launch-1.0 >/dev/null || return 1
    /usr/bin/python3 -c 'import gi; gi.require_version("Gst", "1.0")' 2>/dev/null || return 1
    for element in $elements; do
        gst-inspect-1.0 --exists "$element" || return 1
    done
}

if is_there; then
    exit 0
fi
command -v apt-get >/dev/null || {
    echo "overlane: ffmpeg or GStreamer is missing; install: $packages" >&2
    exit 1
}
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "overlane: installing with $sudo apt-get: $packages" >&2
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $packages
is_there || {
    echo "overlane: ffmpeg or GStreamer is still not complete" >&2
    exit 1
}
