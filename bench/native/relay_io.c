/* epoll, recvmmsg with UDP_GRO, sendmsg with UDP_SEGMENT. */
#include "relay_io.h"

/* Set what the kernel writes in the first few messages it filled (recvmsg(2)). */
static void make_ready(struct inbox *inbox, int number)
{
    for (int i = 0; i < number; i++) {
        inbox->messages[i].msg_hdr.msg_namelen = sizeof inbox->sources[i];
        inbox->messages[i].msg_hdr.msg_controllen = CONTROL_BYTES;
        inbox->messages[i].msg_hdr.msg_flags = 0;
    }
}

void bench_lay_out(struct inbox *inbox)
{
    for (uint32_t i = 0; i < BUFFERS; i++) {
        inbox->vectors[i] = (struct iovec){inbox->data[i], BUFFER_BYTES};
        inbox->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &inbox->sources[i],
            .msg_iov = &inbox->vectors[i], .msg_iovlen = 1,
            .msg_control = inbox->controls[i],
        };
    }
    inbox->given_back = BUFFERS;
}

int bench_receive(const struct route *route, struct inbox *inbox)
{
    uint32_t buffers = route->buffers == 0 ? BUFFERS : route->buffers;
    struct cmsghdr *control;
    int got, size;
    make_ready(inbox, inbox->given_back);
    got = recvmmsg(route->in_fd, inbox->messages, buffers, MSG_DONTWAIT, NULL);
    inbox->given_back = got > 0 ? got : 0;
    for (int i = 0; i < got; i++) {
        struct msghdr *message = &inbox->messages[i].msg_hdr;
        inbox->sizes[i] = inbox->segment_bytes[i] = inbox->messages[i].msg_len;
        for (control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR(message, control))
            if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
                memcpy(&size, CMSG_DATA(control), sizeof size);
                inbox->segment_bytes[i] = (uint32_t)size;
            }
    }
    return got;
}

static int send_once(const struct route *route, struct sockaddr_in *to, struct iovec *parts, uint32_t pieces,
                     uint16_t segment_bytes)
{
    uint8_t control[CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8)));
    struct msghdr message = {.msg_name = to, .msg_namelen = sizeof *to, .msg_iov = parts, .msg_iovlen = pieces};
    if (segment_bytes > 0)
        bench_segment(&message, control, sizeof control, segment_bytes);
    return route->out_fd < 0 ? 0 : (int)sendmsg(route->out_fd, &message, MSG_DONTWAIT);
}

static void count_batch(struct tally *tally, uint32_t packets)
{
    bench_add(&tally->packets, packets);
    bench_add(&tally->batches, 1);
    bench_add(&tally->batch_sizes[packets < 2 ? 0 : 32 - __builtin_clz(packets - 1)], 1);
}

/* Without UDP_SEGMENT: each packet of the batch in a call of its own. */
static void send_one_by_one(struct route *route, struct batch *batch, struct sockaddr_in *to)
{
    for (uint32_t i = 0; i < batch->pieces; i++) {
        uint8_t *data = batch->parts[i].iov_base;
        size_t left = batch->parts[i].iov_len;
        while (left > 0) {
            struct iovec part = {data, left < batch->segment_bytes ? left : batch->segment_bytes};
            if (send_once(route, to, &part, 1, 0) < 0)
                bench_add(&route->sent.refused_packets, 1);
            count_batch(&route->sent, 1);
            data += part.iov_len;
            left -= part.iov_len;
        }
    }
}

void bench_flush(struct route *route, struct batch *batch, struct sockaddr_in *to)
{
    if (batch->packets == 0)
        return;
    if (route->one_by_one) {
        send_one_by_one(route, batch, to);
    } else {
        if (send_once(route, to, batch->parts, batch->pieces, batch->packets > 1 ? (uint16_t)batch->segment_bytes : 0) < 0)
            bench_add(&route->sent.refused_packets, batch->packets);
        count_batch(&route->sent, batch->packets);
    }
    batch->pieces = batch->packets = batch->total_bytes = 0;
}

int bench_serve(struct route *route, void (*forward)(void *context), void *context)
{
    struct epoll_event ready[2];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int failure = 0, count;
    if (epoll < 0)
        return -errno;
    if (bench_watch(epoll, route->stop_fd, 1) < 0 || bench_watch(epoll, route->in_fd, 0) < 0)
        failure = errno;
    while (failure == 0) {
        count = epoll_wait(epoll, ready, 2, -1);
        if (count < 0 && errno != EINTR)
            failure = errno;
        for (int i = 0; i < count; i++) {
            if (ready[i].data.u32 == 1)
                goto done;
            forward(context);
        }
    }
done:
    close(epoll);
    return -failure;
}
