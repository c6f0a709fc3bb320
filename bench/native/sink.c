/* Receivers that count, and read the time stamp of a sample.

   The sink shares a core with the generator and must not be what limits the relay: of most datagrams
   the kernel copies one byte, which tells their type (MSG_TRUNC tells their length). After each
   `sample_every` of them the next few are copied whole and each of their packets' delay goes into
   the histogram; so samples are spread evenly over packets, however many a call brings. */
#include "common.h"
#include "overlay.h"

enum {
    DATAGRAMS = 64,
    EVENTS = 128,
    STOP = UINT32_MAX,
    SAMPLED = 4,                   /* datagrams copied at a time: little enough to delay no other */
    BUFFER_BYTES = 65536,
    STAMP_BYTES = 8,
    /* Delays: 128 buckets an octave, of 128 ns at least, so a bucket is 0.13 us or 0.8 % wide. */
    UNIT_SHIFT = 7,
    FINE_BITS = 7,
    OCTAVES = 32,
    BUCKETS = (OCTAVES + 1) << FINE_BITS,
};

struct reader {
    struct sink *sink;
    uint64_t uncopied;             /* datagrams since the last sample */
    struct mmsghdr counting[DATAGRAMS];
    struct iovec first_bytes[DATAGRAMS];
    uint8_t types[DATAGRAMS];
    struct mmsghdr sampling[SAMPLED];
    struct iovec whole[SAMPLED];
    uint8_t data[SAMPLED][BUFFER_BYTES];
};

int bench_delay_buckets(void)
{
    return BUCKETS;
}

int bench_delay_bucket(int64_t delay_ns)
{
    uint64_t units = delay_ns < 0 ? 0 : (uint64_t)delay_ns >> UNIT_SHIFT;
    int octave, bucket;
    if (units < 1 << FINE_BITS)
        return (int)units;
    octave = 63 - __builtin_clzll(units) - FINE_BITS;
    bucket = ((octave + 1) << FINE_BITS) + (int)((units >> octave) & ((1 << FINE_BITS) - 1));
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

int64_t bench_delay_of(int bucket)
{
    int octave = (bucket >> FINE_BITS) - 1;
    int64_t units = bucket;
    if (octave >= 0)
        units = (((int64_t)(1 << FINE_BITS) + (bucket & ((1 << FINE_BITS) - 1)) + 1) << octave) - 1;
    return ((units + 1) << UNIT_SHIFT) - 1;
}

/* How many packets a datagram (or buffer of joined ones) counts for. */
static uint64_t count_datagram(struct sink *sink, uint8_t first_byte, uint32_t size)
{
    if (sink->is_overlay && first_byte != MEDIA) {
        bench_add(&sink->other_datagrams, 1);
        return 0;
    }
    if (size % sink->packet_bytes != 0)
        bench_add(&sink->odd_bytes, size);
    return size / sink->packet_bytes;
}

static void note_delays(struct sink *sink, const uint8_t *data, uint64_t packets, int64_t now_ns)
{
    uint64_t stamp;
    for (uint64_t i = 1; i <= packets; i++) {
        memcpy(&stamp, data + i * sink->packet_bytes - STAMP_BYTES, STAMP_BYTES);
        bench_add(&sink->delays[bench_delay_bucket(now_ns - (int64_t)stamp)], 1);
    }
    bench_add(&sink->samples, packets);
}

static void sample(struct reader *reader, int fd)
{
    struct sink *sink = reader->sink;
    int got = recvmmsg(fd, reader->sampling, SAMPLED, MSG_DONTWAIT, NULL);
    int64_t now_ns = bench_now_ns();
    uint64_t packets = 0, found;
    for (int i = 0; i < got; i++) {
        found = count_datagram(sink, reader->data[i][0], reader->sampling[i].msg_len);
        note_delays(sink, reader->data[i], found, now_ns);
        packets += found;
    }
    bench_add(&sink->packets, packets);
    reader->uncopied = 0;
}

static void drain_once(struct reader *reader, int fd)
{
    struct sink *sink = reader->sink;
    uint32_t every = __atomic_load_n(&sink->sample_every, __ATOMIC_ACQUIRE);
    uint64_t packets = 0;
    int got;
    if (every > 0 && reader->uncopied + 1 >= every) {
        sample(reader, fd);
        return;
    }
    got = recvmmsg(fd, reader->counting, DATAGRAMS, MSG_DONTWAIT | MSG_TRUNC, NULL);
    for (int i = 0; i < got; i++)
        packets += count_datagram(sink, reader->types[i], reader->counting[i].msg_len);
    if (got > 0)
        reader->uncopied += (uint64_t)got;
    bench_add(&sink->packets, packets);
}

static void lay_out(struct reader *reader, struct sink *sink)
{
    memset(reader, 0, sizeof *reader);  /* and touches the pages before they are needed */
    reader->sink = sink;
    for (int i = 0; i < DATAGRAMS; i++) {
        reader->first_bytes[i] = (struct iovec){&reader->types[i], 1};
        reader->counting[i].msg_hdr.msg_iov = &reader->first_bytes[i];
        reader->counting[i].msg_hdr.msg_iovlen = 1;
    }
    for (int i = 0; i < SAMPLED; i++) {
        reader->whole[i] = (struct iovec){reader->data[i], BUFFER_BYTES};
        reader->sampling[i].msg_hdr.msg_iov = &reader->whole[i];
        reader->sampling[i].msg_hdr.msg_iovlen = 1;
    }
}

int bench_sink(struct sink *sink)
{
    static struct reader reader;
    struct epoll_event ready[EVENTS];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int failure = 0, count;
    if (epoll < 0)
        return -errno;
    lay_out(&reader, sink);
    if (bench_watch(epoll, sink->stop_fd, STOP) < 0)
        failure = errno;
    for (int i = 0; i < sink->count; i++)
        if (bench_watch(epoll, sink->fds[i], (uint32_t)i) < 0)
            failure = errno;
    while (failure == 0) {
        count = epoll_wait(epoll, ready, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            failure = errno;
        for (int i = 0; i < count; i++) {
            if (ready[i].data.u32 == STOP)
                goto done;
            /* One batch from each: none waits for another's backlog. */
            drain_once(&reader, sink->fds[ready[i].data.u32]);
        }
    }
done:
    close(epoll);
    return -failure;
}

uint64_t bench_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

void bench_set(uint32_t *setting, uint32_t value)
{
    __atomic_store_n(setting, value, __ATOMIC_RELEASE);
}
