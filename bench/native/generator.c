/* An H.264 encoder as far as a relay can see: each burst is one frame, sent in one system call.

   The burst leaves as one UDP_SEGMENT send, so a receiving socket with UDP_GRO gets it as one
   buffer: the burst's size decides what the relay can gain from GRO. Between bursts it sleeps;
   late by a wake-up, it sends at once all that is due. */
#include "common.h"

enum { MAX_BURST_BYTES = 65000, RTP_BYTES = 12, PAYLOAD_TYPE = 96, FRAME_TICKS = 3000 };

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_until(int64_t due_ns)
{
    struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
    }
}

static void write_packet(struct generator *generator, uint8_t *packet, uint32_t place)
{
    int is_key = generator->frames % generator->bursts_per_gop == 0;
    int is_last = place + 1 == generator->packets_per_burst;
    uint32_t timestamp = htonl(generator->frames * FRAME_TICKS);
    uint16_t number = htons(generator->sequence_number++);
    packet[0] = 0x80;
    packet[1] = PAYLOAD_TYPE | (is_last ? 0x80 : 0);
    memcpy(packet + 2, &number, sizeof number);
    memcpy(packet + 4, &timestamp, sizeof timestamp);
    memcpy(packet + 8, "over", 4);                  /* SSRC */
    packet[RTP_BYTES] = is_key ? 0x65 : 0x41;       /* a slice of an IDR picture, or of another */
    packet[RTP_BYTES + 1] = place == 0 ? 0x88 : 0x48; /* first_mb_in_slice: 0 only at the start */
}

int64_t bench_generate(struct generator *generator, int64_t bursts, double interval_ns)
{
    static uint8_t data[MAX_BURST_BYTES];
    uint8_t control[CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8)));
    struct iovec part = {data, (size_t)generator->packets_per_burst * generator->packet_bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    int64_t start_ns = now_ns();
    if (part.iov_len > sizeof data || generator->packet_bytes < RTP_BYTES + 2)
        return -EINVAL;
    if (generator->packets_per_burst > 1)
        bench_segment(&message, control, sizeof control, (uint16_t)generator->packet_bytes);
    for (int64_t burst = 0; burst < bursts; burst++) {
        int64_t due_ns = start_ns + (int64_t)((double)burst * interval_ns);
        if (due_ns > now_ns())
            sleep_until(due_ns);
        for (uint32_t place = 0; place < generator->packets_per_burst; place++)
            write_packet(generator, data + (size_t)place * generator->packet_bytes, place);
        generator->frames++;
        if (sendmsg(generator->fd, &message, 0) < 0)
            return -errno;
    }
    return now_ns() - start_ns;
}
