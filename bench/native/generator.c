/* Encoders behind one link, as far as a relay can see: each frame is sent in one system call.

   A frame leaves as one UDP_SEGMENT send, so a receiving socket with UDP_GRO gets it as one buffer:
   the frame's size decides what the relay can gain from GRO. Between frames it sleeps; late by a
   wake-up, it sends at once all that is due. Tags are made before the clock starts: the generator
   must outrun what it measures. The time of sending stands in each packet's last 8 bytes, which no
   tag covers: CLOCK_MONOTONIC, ns, little endian. */
#include "common.h"
#include "overlay.h"

#include <stdlib.h>
#include <sys/prctl.h>

enum { MAX_FRAME_BYTES = 65000, RTP_BYTES = 12, PAYLOAD_TYPE = 96, FRAME_TICKS = 3000, STAMP_BYTES = 8 };

/* 0, or -EINTR: a signal has a handler, and whoever waits for it waits for this call's end. */
static int sleep_until(int64_t due_ns)
{
    struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
    return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static void write_rtp(const struct generator *generator, const struct frame *frame, uint16_t place, uint8_t *rtp)
{
    const struct track *track = &generator->tracks[frame->stream];
    rtp[0] = 0x80;
    rtp[1] = PAYLOAD_TYPE | (place + 1 == frame->packets ? 0x80 : 0);
    store_be16(rtp + 2, (uint16_t)track->stream_seq);
    store_be32(rtp + 4, track->frames * FRAME_TICKS);
    store_be32(rtp + 8, generator->first_stream_id + frame->stream);
    rtp[RTP_BYTES] = frame->is_key ? 0x65 : 0x41;  /* a slice of an IDR picture, or of another */
    rtp[RTP_BYTES + 1] = place == 0 ? 0x88 : 0x48; /* first_mb_in_slice: 0 only at the start */
    memset(rtp + RTP_BYTES + 2, 0, TAGGED_PAYLOAD_BYTES - RTP_BYTES - 2);
}

static void write_overlay(const struct generator *generator, const struct frame *frame, uint16_t place, uint8_t *packet)
{
    const struct track *track = &generator->tracks[frame->stream];
    uint8_t marks = frame->is_key ? MARK_KEY : 0;
    if (place == 0)
        marks |= MARK_FRAME_START | (frame->is_key ? MARK_GOP_START : 0);
    if (place + 1 == frame->packets)
        marks |= MARK_FRAME_END;
    memset(packet, 0, HEADER_BYTES);
    packet[0] = MEDIA;
    packet[HOP_LIMIT_AT] = FIRST_HOP_LIMIT;
    packet[4] = CLASS_VIDEO | marks;
    store_be32(packet + 8, generator->first_stream_id + frame->stream);
    store_be32(packet + 12, track->stream_seq);
    store_be32(packet + 16, (uint32_t)generator->hop_seq);
    store_be32(packet + 20, (uint32_t)(frame->due_ns / 1000));
    write_rtp(generator, frame, place, packet + LEG_BYTES);
}

/* Write the next packet, but for its tag and its time stamp, and count it. */
static void write_packet(struct generator *generator, const struct frame *frame, uint16_t place, uint8_t *packet)
{
    generator->hop_seq++;
    if (generator->is_overlay)
        write_overlay(generator, frame, place, packet);
    else
        write_rtp(generator, frame, place, packet);
    generator->tracks[frame->stream].stream_seq++;
    if (place + 1 == frame->packets)
        generator->tracks[frame->stream].frames++;
}

/* The tags of all packets in the order they leave; the generator is then as it was. */
static int make_tags(struct generator *generator, const struct frame *frames, int64_t count, uint32_t streams,
                     uint64_t *tags)
{
    uint8_t packet[LEG_BYTES + TAGGED_PAYLOAD_BYTES] = {0};
    uint64_t hop_seq = generator->hop_seq;
    struct track *before = malloc(streams * sizeof *before);
    struct sip_key key;
    if (before == NULL)
        return -ENOMEM;
    memcpy(&key, generator->key, sizeof key);
    memcpy(before, generator->tracks, streams * sizeof *before);
    for (int64_t i = 0; i < count; i++)
        for (uint16_t place = 0; place < frames[i].packets; place++) {
            write_packet(generator, &frames[i], place, packet);
            *tags++ = htobe64(media_tag(packet, generator->hop_seq, generator->payload_bytes, &key));
        }
    memcpy(generator->tracks, before, streams * sizeof *before);
    generator->hop_seq = hop_seq;
    free(before);
    return 0;
}

/* The largest number of packets a frame has, and how many there are in all, and streams. */
static void measure_frames(const struct frame *frames, int64_t count, uint16_t *largest, uint64_t *packets,
                           uint32_t *streams)
{
    *largest = 0;
    *packets = 0;
    *streams = 0;
    for (int64_t i = 0; i < count; i++) {
        if (frames[i].packets > *largest)
            *largest = frames[i].packets;
        if (frames[i].stream >= *streams)
            *streams = frames[i].stream + 1;
        *packets += frames[i].packets;
    }
}

static int send_frame(struct generator *generator, const struct frame *frame, const uint64_t *tags, uint8_t *data,
                      uint32_t packet_bytes)
{
    uint8_t control[CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8)));
    struct iovec part = {data, (size_t)frame->packets * packet_bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t *packet = data;
    uint64_t stamp;
    if (generator->port_count > 0) {
        to.sin_port = htons(generator->ports[generator->next_port++ % generator->port_count]);
        message.msg_name = &to;
        message.msg_namelen = sizeof to;
    }
    for (uint16_t place = 0; place < frame->packets; place++) {
        memcpy(packet, generator->prefix, generator->prefix_bytes);
        write_packet(generator, frame, place, packet + generator->prefix_bytes);
        if (generator->is_overlay)
            memcpy(packet + generator->prefix_bytes + HEADER_BYTES, &tags[place], TAG_BYTES);
        packet += packet_bytes;
    }
    stamp = (uint64_t)bench_now_ns();
    for (uint16_t place = 0; place < frame->packets; place++)
        memcpy(data + (size_t)(place + 1) * packet_bytes - STAMP_BYTES, &stamp, STAMP_BYTES);
    if (frame->packets > 1)
        bench_segment(&message, control, sizeof control, (uint16_t)packet_bytes);
    return sendmsg(generator->fd, &message, 0) < 0 ? -errno : 0;
}

int64_t bench_generate(struct generator *generator, const struct frame *frames, int64_t count)
{
    static uint8_t data[MAX_FRAME_BYTES];
    uint32_t packet_bytes =
        generator->prefix_bytes + (generator->is_overlay ? LEG_BYTES : 0) + generator->payload_bytes;
    uint64_t packets, *tags = NULL;
    uint32_t streams;
    uint16_t largest;
    int64_t start_ns, sent = 0;
    int failure = 0;
    measure_frames(frames, count, &largest, &packets, &streams);
    if (generator->prefix_bytes > sizeof generator->prefix || (uint64_t)largest * packet_bytes > sizeof data ||
        generator->payload_bytes < TAGGED_PAYLOAD_BYTES + STAMP_BYTES)
        return -EINVAL;
    if (generator->is_overlay) {
        tags = malloc((packets + 1) * sizeof *tags);
        failure = tags == NULL ? -ENOMEM : make_tags(generator, frames, count, streams, tags);
    }
    prctl(PR_SET_TIMERSLACK, 1);  /* ns: an encoder's frame is due when it is due */
    start_ns = bench_now_ns();
    for (int64_t i = 0; i < count && failure == 0; i++) {
        if (start_ns + frames[i].due_ns > bench_now_ns())
            failure = sleep_until(start_ns + frames[i].due_ns);
        if (failure == 0)
            failure = send_frame(generator, &frames[i], tags == NULL ? NULL : tags + sent, data, packet_bytes);
        sent += frames[i].packets;
    }
    free(tags);
    return failure < 0 ? failure : bench_now_ns() - start_ns;
}
