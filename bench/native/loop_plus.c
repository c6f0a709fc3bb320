/* The yardstick: the floor's system calls, and per packet what any relay of this design must do.

   In: header fields checked, replay window (8,192 numbers), tag, hop limit, stream known, one copy
   into a ring of 2 KiB slots. Out, per link: hop_seq, header and tag written in the slot's headroom,
   an entry in the send history (8,192 a link), one iovec a packet, UDP_SEGMENT sends.

   At the edge (plain RTP in and out) likewise, but that nothing is tagged or noted in a history: RTP
   fields checked, numbers unwrapped, duplicates dropped, one copy; per viewer its own sequence number,
   RTP time and SSRC, written over the slot's. It does not look at the codec, which the engine must.

   What it does not do, and a relay has to: decide anything. No holes, repair, probes or reports, no
   commands, no cursor that may lag or start at a key frame, no budget, no classes, no timers, no
   lookup of the peer, no ring that grows. A stream's number is its place in a table.

   All words of a header but hop_seq are the same for every link, so they are put down once a packet
   and a link writes 4 bytes and the tag. The tag is scalar SipHash (siphash.h). */
#include "relay_io.h"
#include "overlay.h"

#include <stdlib.h>

enum {
    SLOT_BYTES = 2048,
    HEADROOM_BYTES = 64,
    WINDOW = 8192,
    HISTORY = 8192,
    SMALLEST_RING = 256,
    RTP_BYTES = 12,
    RTP_VERSION = 2,
    NOBODY = UINT32_MAX,
};

struct slot {                      /* what is known of a packet; its bytes are in `data` */
    uint64_t words[2];             /* of its header on the way out: all before hop_seq */
    uint32_t timestamp;            /* of RTP; at the edge only */
    uint64_t payload_words[2];     /* that the tag covers */
    int64_t arrival_us;
    uint32_t stream_seq;
    uint32_t next;                 /* of the same group in this turn */
    uint16_t size;
    uint16_t delay;
};

struct sent {                      /* so that a repair could find what a number carried */
    uint64_t hop_seq;
    int64_t at_us;
    uint32_t slot;
    uint32_t stream_seq;
};

struct link {
    struct sockaddr_in to;
    struct sip_key key;
    uint64_t hop_seq;              /* last used */
    struct sent *history;
    /* a viewer's: */
    uint32_t ssrc;
    uint32_t timestamp_offset;
    uint16_t number_offset;
};

struct group {                     /* of links that get the same streams */
    uint32_t first;                /* its packets of this turn */
    uint32_t last;
};

struct loop_plus {
    struct route *route;
    struct loop_plus_counts counts;
    struct sip_key receive_key;
    uint64_t highest;              /* hop_seq accepted */
    uint64_t window[WINDOW / 64];
    uint8_t *data;
    struct slot *slots;
    uint32_t mask;
    uint32_t next_slot;
    uint32_t taken;                /* in this turn */
    int64_t now_us;
    struct link *links;
    struct sent *history;
    struct group *groups;
    uint32_t *dirty;               /* groups with packets */
    uint32_t group_count;
    uint32_t dirty_count;
    struct inbox inbox;
};

static inline uint8_t *payload_of(const struct loop_plus *plus, uint32_t slot)
{
    return plus->data + (size_t)slot * SLOT_BYTES + HEADROOM_BYTES;
}

static inline uint64_t window_bit(uint64_t hop_seq)
{
    return (uint64_t)1 << (hop_seq & 63);
}

static inline uint64_t *window_word(struct loop_plus *plus, uint64_t hop_seq)
{
    return &plus->window[(hop_seq & (WINDOW - 1)) >> 6];
}

static inline int was_seen(struct loop_plus *plus, uint64_t hop_seq)
{
    return hop_seq == 0 || hop_seq + WINDOW <= plus->highest
        || (hop_seq <= plus->highest && (*window_word(plus, hop_seq) & window_bit(hop_seq)));
}

/* RFC 6479: the window slides over the numbers skipped. */
static inline void note_number(struct loop_plus *plus, uint64_t hop_seq)
{
    if (hop_seq > plus->highest) {
        if (hop_seq - plus->highest > WINDOW)
            memset(plus->window, 0, sizeof plus->window);
        else
            for (uint64_t at = plus->highest + 1; at < hop_seq; at++)
                *window_word(plus, at) &= ~window_bit(at);
        plus->highest = hop_seq;
    }
    *window_word(plus, hop_seq) |= window_bit(hop_seq);
}

static inline void append(struct loop_plus *plus, uint32_t stream, uint32_t slot)
{
    struct group *group = &plus->groups[stream % plus->group_count];
    plus->slots[slot].next = NOBODY;
    if (group->first == NOBODY) {
        group->first = slot;
        plus->dirty[plus->dirty_count++] = (uint32_t)(group - plus->groups);
    } else {
        plus->slots[group->last].next = slot;
    }
    group->last = slot;
}

static inline void store(struct loop_plus *plus, const uint8_t *packet, uint32_t size, uint32_t stream)
{
    uint32_t place = plus->next_slot++ & plus->mask;
    struct slot *slot = &plus->slots[place];
    uint8_t head[HEADER_BYTES];
    uint16_t delay;
    memcpy(payload_of(plus, place), packet + LEG_BYTES, size - LEG_BYTES);
    memcpy(head, packet, sizeof head);
    head[HOP_LIMIT_AT]--;
    memcpy(&delay, packet + 6, sizeof delay);
    slot->words[0] = load_word(head);
    slot->words[1] = load_word(head + 8);
    slot->payload_words[0] = load_word(packet + LEG_BYTES);
    slot->payload_words[1] = load_word(packet + LEG_BYTES + 8);
    slot->arrival_us = plus->now_us;
    slot->stream_seq = load_be32(packet + 12);
    slot->size = (uint16_t)(size - LEG_BYTES);
    slot->delay = be16toh(delay);
    append(plus, stream, place);
    plus->taken++;
}

static inline void store_rtp(struct loop_plus *plus, const uint8_t *packet, uint32_t size, uint64_t number, uint32_t stream)
{
    uint32_t place = plus->next_slot++ & plus->mask;
    struct slot *slot = &plus->slots[place];
    memcpy(payload_of(plus, place), packet, size);
    slot->timestamp = load_be32(packet + 4);
    slot->stream_seq = (uint32_t)number;
    slot->size = (uint16_t)size;
    append(plus, stream, place);
    plus->taken++;
}

static inline void take_rtp(struct loop_plus *plus, const uint8_t *packet, uint32_t size)
{
    uint64_t number;
    uint32_t stream;
    if (size < RTP_BYTES || size > SLOT_BYTES - HEADROOM_BYTES || packet[0] >> 6 != RTP_VERSION) {
        plus->counts.refused++;
        return;
    }
    stream = load_be32(packet + 8) - plus->route->first_stream_id;
    if (stream >= plus->route->streams) {
        plus->counts.refused++;
        return;
    }
    if (plus->highest == 0)
        plus->highest = (1 << 16) + load_be16(packet + 2) - 1;
    number = plus->highest + (uint64_t)(int64_t)(int16_t)(load_be16(packet + 2) - (uint16_t)plus->highest);
    if (was_seen(plus, number)) {
        plus->counts.replayed++;
        return;
    }
    note_number(plus, number);
    store_rtp(plus, packet, size, number, stream);
    plus->counts.taken++;
}

static inline void take_packet(struct loop_plus *plus, const uint8_t *packet, uint32_t size)
{
    uint64_t hop_seq;
    uint32_t stream;
    /* Plain media: no flags, no segments, epoch 0, a payload that the tag's 16 bytes fit in. */
    if (size < LEG_BYTES + TAGGED_PAYLOAD_BYTES || size > SLOT_BYTES - HEADROOM_BYTES + LEG_BYTES || packet[0] != MEDIA
        || packet[1] != 0 || packet[2] != 0 || packet[HOP_LIMIT_AT] <= 1 || packet[5] != 0) {
        plus->counts.refused++;
        return;
    }
    hop_seq = plus->highest + (uint64_t)(int64_t)(int32_t)(load_be32(packet + 16) - (uint32_t)plus->highest);
    if (was_seen(plus, hop_seq)) {
        plus->counts.replayed++;
        return;
    }
    if (htobe64(media_tag(packet, hop_seq, size - LEG_BYTES, &plus->receive_key)) != load_word(packet + HEADER_BYTES)) {
        plus->counts.bad_tag++;
        return;
    }
    note_number(plus, hop_seq);
    stream = load_be32(packet + 8) - plus->route->first_stream_id;
    if (stream >= plus->route->streams) {
        plus->counts.refused++;
        return;
    }
    store(plus, packet, size, stream);
    plus->counts.taken++;
}

void loop_plus_take(struct loop_plus *plus, const uint8_t *data, uint32_t size, uint32_t segment)
{
    while (size > 0) {
        uint32_t bytes = size < segment ? size : segment;
        if (plus->taken > plus->mask / 2)
            loop_plus_send(plus);  /* nothing is overwritten before it has been sent */
        if (plus->route->is_overlay)
            take_packet(plus, data, bytes);
        else
            take_rtp(plus, data, bytes);
        data += bytes;
        size -= bytes;
    }
}

/* What all links share of a packet's header, once a turn. */
static inline void finish_header(struct loop_plus *plus, uint32_t place)
{
    struct slot *slot = &plus->slots[place];
    uint8_t *header = payload_of(plus, place) - LEG_BYTES;
    int64_t delay = slot->delay + (plus->now_us - slot->arrival_us) / 250;
    memcpy(header, slot->words, sizeof slot->words);
    store_be16(header + 6, delay > 0xFFFF ? 0xFFFF : (uint16_t)delay);
    slot->words[0] = load_word(header);
    store_be32(header + 20, (uint32_t)plus->now_us);
}

/* Write what only this link's header has: its number, and the tag over everything. */
static inline void write_header(struct loop_plus *plus, struct link *link, uint32_t place)
{
    const struct slot *slot = &plus->slots[place];
    uint8_t *header = payload_of(plus, place) - LEG_BYTES;
    uint64_t hop_seq = ++link->hop_seq;
    uint64_t numbered = htobe32((uint32_t)hop_seq) | (uint64_t)htobe32((uint32_t)plus->now_us) << 32;
    uint64_t tag = siphash_48(slot->words[0], slot->words[1], numbered, high_and_length(hop_seq, slot->size),
                              slot->payload_words[0], slot->payload_words[1], &link->key);
    memcpy(header + 16, &numbered, sizeof numbered);
    store_be64(header + HEADER_BYTES, tag);
    link->history[hop_seq & (HISTORY - 1)] = (struct sent){hop_seq, plus->now_us, place, slot->stream_seq};
}

static inline void write_rtp_header(struct loop_plus *plus, struct link *link, uint32_t place)
{
    const struct slot *slot = &plus->slots[place];
    uint8_t *rtp = payload_of(plus, place);
    store_be16(rtp + 2, (uint16_t)(slot->stream_seq + link->number_offset));
    store_be32(rtp + 4, slot->timestamp + link->timestamp_offset);
    store_be32(rtp + 8, link->ssrc);
}

/* `leg`: bytes before the RTP packet, known where this is called, so that each kind has its own code. */
static inline __attribute__((always_inline)) void send_to(struct loop_plus *plus, struct link *link, uint32_t first,
                                                          const uint32_t leg)
{
    struct route *route = plus->route;
    struct batch batch;
    int is_closed = 0;
    batch.pieces = batch.packets = batch.total_bytes = batch.segment_bytes = 0;
    for (uint32_t at = first; at != NOBODY; at = plus->slots[at].next) {
        uint32_t bytes = plus->slots[at].size + leg;
        if (batch.packets > 0 && (is_closed || bytes > batch.segment_bytes || batch.packets == BATCH_SEGMENTS
                                  || batch.total_bytes + bytes > BATCH_BYTES)) {
            bench_flush(route, &batch, &link->to);
            is_closed = 0;
        }
        if (batch.packets == 0)
            batch.segment_bytes = bytes;
        else
            is_closed = bytes < batch.segment_bytes;  /* a shorter segment ends a batch */
        if (leg > 0)
            write_header(plus, link, at);
        else
            write_rtp_header(plus, link, at);
        batch.parts[batch.pieces++] = (struct iovec){payload_of(plus, at) - leg, bytes};
        batch.packets++;
        batch.total_bytes += bytes;
    }
    bench_flush(route, &batch, &link->to);
}

void loop_plus_send(struct loop_plus *plus)
{
    uint32_t fanout = plus->route->fanout;
    for (uint32_t i = 0; i < plus->dirty_count; i++) {
        uint32_t number = plus->dirty[i];
        struct group *group = &plus->groups[number];
        if (plus->route->is_overlay) {
            for (uint32_t at = group->first; at != NOBODY; at = plus->slots[at].next)
                finish_header(plus, at);
            for (uint32_t k = 0; k < fanout; k++)
                send_to(plus, &plus->links[number * fanout + k], group->first, LEG_BYTES);
        } else {
            for (uint32_t k = 0; k < fanout; k++)
                send_to(plus, &plus->links[number * fanout + k], group->first, 0);
        }
        group->first = NOBODY;
    }
    plus->dirty_count = 0;
    plus->taken = 0;
}

static void forward(void *context)
{
    struct loop_plus *plus = context;
    int got = bench_receive(plus->route, &plus->inbox);
    plus->now_us = bench_now_ns() / 1000;
    for (int i = 0; i < got; i++)
        loop_plus_take(plus, plus->inbox.data[i], plus->inbox.sizes[i], plus->inbox.segment_bytes[i]);
    loop_plus_send(plus);
}

int bench_loop_plus(struct loop_plus *plus)
{
    return bench_serve(plus->route, forward, plus);
}

const struct loop_plus_counts *loop_plus_counts(const struct loop_plus *plus)
{
    return &plus->counts;
}

static int allocate(struct loop_plus *plus, uint32_t ring_slots)
{
    struct route *route = plus->route;
    plus->data = aligned_alloc(4096, (size_t)ring_slots * SLOT_BYTES);
    plus->slots = calloc(ring_slots, sizeof *plus->slots);
    plus->links = calloc(route->links, sizeof *plus->links);
    plus->history = calloc((size_t)route->links * HISTORY, sizeof *plus->history);
    plus->groups = calloc(plus->group_count, sizeof *plus->groups);
    plus->dirty = calloc(plus->group_count, sizeof *plus->dirty);
    if (plus->data == NULL || plus->slots == NULL || plus->links == NULL || plus->history == NULL
        || plus->groups == NULL || plus->dirty == NULL)
        return -ENOMEM;
    memset(plus->data, 0, (size_t)ring_slots * SLOT_BYTES);  /* no page is touched for the first time later */
    memset(plus->history, 0xFF, (size_t)route->links * HISTORY * sizeof *plus->history);
    return 0;
}

struct loop_plus *loop_plus_open(struct route *route, uint32_t ring_slots, const uint8_t *receive_key,
                                 const uint8_t *send_key)
{
    struct loop_plus *plus;
    if (ring_slots < SMALLEST_RING || (ring_slots & (ring_slots - 1)) != 0 || route->fanout == 0
        || route->links == 0 || route->links % route->fanout != 0)
        return NULL;
    plus = calloc(1, sizeof *plus);
    if (plus == NULL)
        return NULL;
    plus->route = route;
    bench_lay_out(&plus->inbox);
    plus->mask = ring_slots - 1;
    plus->group_count = bench_groups(route);
    if (allocate(plus, ring_slots) < 0) {
        loop_plus_close(plus);
        return NULL;
    }
    memcpy(&plus->receive_key, receive_key, sizeof plus->receive_key);
    for (uint32_t i = 0; i < route->links; i++) {
        plus->links[i].to = bench_receiver(route, i);
        plus->links[i].history = plus->history + (size_t)i * HISTORY;
        plus->links[i].ssrc = i + 1;
        plus->links[i].timestamp_offset = i * 90000;
        plus->links[i].number_offset = (uint16_t)(i * 1000);
        memcpy(&plus->links[i].key, send_key, sizeof plus->links[i].key);
    }
    for (uint32_t i = 0; i < plus->group_count; i++)
        plus->groups[i].first = NOBODY;
    return plus;
}

void loop_plus_close(struct loop_plus *plus)
{
    free(plus->data);
    free(plus->slots);
    free(plus->links);
    free(plus->history);
    free(plus->groups);
    free(plus->dirty);
    free(plus);
}

uint64_t bench_siphash_48(const uint8_t *data, const uint8_t *key)
{
    struct sip_key native;
    memcpy(&native, key, sizeof native);
    return siphash_48(load_word(data), load_word(data + 8), load_word(data + 16), load_word(data + 24),
                      load_word(data + 32), load_word(data + 40), &native);
}
