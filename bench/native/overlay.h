/* The overlay's media packet as far as the bench makes and reads it (layout: ARCHITECTURE.md,
   "Wire format"): 24 bytes of header, 8 of tag, the RTP packet. */
#ifndef BENCH_OVERLAY_H
#define BENCH_OVERLAY_H

#include <endian.h>

#include "siphash.h"

enum {
    HEADER_BYTES = 24,
    TAG_BYTES = 8,
    LEG_BYTES = HEADER_BYTES + TAG_BYTES,
    TAGGED_PAYLOAD_BYTES = 16,
    MEDIA = 0xC0,                  /* version 12, type 0 */
    HOP_LIMIT_AT = 3,
    FIRST_HOP_LIMIT = 8,
    CLASS_VIDEO = 2 << 5,
    MARK_GOP_START = 1,
    MARK_FRAME_END = 2,
    MARK_FRAME_START = 4,
    MARK_KEY = 16,
};

static inline uint64_t load_word(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof word);
    return word;
}

static inline uint16_t load_be16(const uint8_t *data)
{
    uint16_t word;
    memcpy(&word, data, sizeof word);
    return be16toh(word);
}

static inline uint32_t load_be32(const uint8_t *data)
{
    uint32_t word;
    memcpy(&word, data, sizeof word);
    return be32toh(word);
}

static inline void store_be16(uint8_t *data, uint16_t value)
{
    value = htobe16(value);
    memcpy(data, &value, sizeof value);
}

static inline void store_be32(uint8_t *data, uint32_t value)
{
    value = htobe32(value);
    memcpy(data, &value, sizeof value);
}

static inline void store_be64(uint8_t *data, uint64_t value)
{
    value = htobe64(value);
    memcpy(data, &value, sizeof value);
}

/* The fourth word a tag covers: high half of hop_seq and the payload's length, as on the wire. */
static inline uint64_t high_and_length(uint64_t hop_seq, uint32_t payload_bytes)
{
    return htobe64((hop_seq & 0xFFFFFFFF00000000) | payload_bytes);
}

/* The tag of a whole media packet with at least 16 bytes of payload. */
static inline uint64_t media_tag(const uint8_t *packet, uint64_t hop_seq, uint32_t payload_bytes,
                                 const struct sip_key *key)
{
    return siphash_48(load_word(packet), load_word(packet + 8), load_word(packet + 16),
                      high_and_length(hop_seq, payload_bytes), load_word(packet + LEG_BYTES),
                      load_word(packet + LEG_BYTES + 8), key);
}

#endif
