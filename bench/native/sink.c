/* Receivers that only count. MSG_TRUNC with no buffer tells a datagram's length without copying
   it: the sink shares a core with the generator and must not be what limits the relay. */
#include "common.h"

enum { DATAGRAMS = 64, EVENTS = 128, STOP = UINT32_MAX };

static int drain_once(struct sink *sink, int fd, struct mmsghdr *messages)
{
    uint64_t packets = 0, odd = 0;
    int got = recvmmsg(fd, messages, DATAGRAMS, MSG_DONTWAIT | MSG_TRUNC, NULL);
    for (int i = 0; i < got; i++) {
        packets += messages[i].msg_len / sink->packet_bytes;
        if (messages[i].msg_len % sink->packet_bytes != 0)
            odd += messages[i].msg_len;
    }
    bench_add(&sink->packets, packets);
    bench_add(&sink->odd_bytes, odd);
    return got;
}

int bench_sink(struct sink *sink)
{
    static struct mmsghdr messages[DATAGRAMS];
    struct epoll_event ready[EVENTS];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int failure = 0, count;
    if (epoll < 0)
        return -errno;
    memset(messages, 0, sizeof messages);
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
            drain_once(sink, sink->fds[ready[i].data.u32], messages);
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
