# What a track's payloads are, for native code that treats codecs differently.
cdef enum:
    CODEC_OPUS = 1
    CODEC_H264 = 2
    CODEC_VP8 = 3
