/* The floor: what the kernel asks for taking packets in and sending each to N destinations.

   The engine's system calls with the engine's sizes (fastpath/socket_io.pyx, worker.pxd): epoll,
   one recvmmsg of up to 32 coalesced buffers with their receive times, then for each destination
   UDP_SEGMENT sends of up to 64 packets and 65,000 bytes, straight from the receive buffers.
   No packet is read, checked, stored or changed. */
#include "common.h"

enum {
    BUFFERS = 32,
    BUFFER_BYTES = 65536,
    CONTROL_BYTES = 128,
    BATCH_SEGMENTS = 64,
    BATCH_BYTES = 65000,
    MAX_PARTS = BUFFERS,  /* a batch has at most one run of packets from each buffer */
};

struct state {
    struct mmsghdr messages[BUFFERS];
    struct iovec vectors[BUFFERS];
    struct sockaddr_storage sources[BUFFERS];
    uint8_t controls[BUFFERS][CONTROL_BYTES];
    uint32_t segment_bytes[BUFFERS];
    uint8_t data[BUFFERS][BUFFER_BYTES];
};

struct batch {
    struct iovec parts[MAX_PARTS];
    size_t pieces;
    uint32_t packets;
    uint32_t segment_bytes;
    uint32_t total_bytes;
};

static int receive(struct state *state, int fd)
{
    struct cmsghdr *control;
    int got, size;
    for (int i = 0; i < BUFFERS; i++) {
        struct msghdr *message = &state->messages[i].msg_hdr;
        state->vectors[i] = (struct iovec){state->data[i], BUFFER_BYTES};
        *message = (struct msghdr){
            .msg_name = &state->sources[i], .msg_namelen = sizeof state->sources[i],
            .msg_iov = &state->vectors[i], .msg_iovlen = 1,
            .msg_control = state->controls[i], .msg_controllen = CONTROL_BYTES,
        };
    }
    got = recvmmsg(fd, state->messages, BUFFERS, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        struct msghdr *message = &state->messages[i].msg_hdr;
        state->segment_bytes[i] = state->messages[i].msg_len;
        for (control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR(message, control))
            if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
                memcpy(&size, CMSG_DATA(control), sizeof size);
                state->segment_bytes[i] = (uint32_t)size;
            }
    }
    return got;
}

static void flush(struct loop *loop, struct batch *batch, struct sockaddr_in *to)
{
    uint8_t control[CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8)));
    struct msghdr message = {
        .msg_name = to, .msg_namelen = sizeof *to, .msg_iov = batch->parts, .msg_iovlen = batch->pieces,
    };
    if (batch->packets == 0)
        return;
    if (batch->packets > 1)
        bench_segment(&message, control, sizeof control, (uint16_t)batch->segment_bytes);
    if (sendmsg(loop->out_fd, &message, MSG_DONTWAIT) < 0)
        bench_add(&loop->refused_packets, batch->packets);
    bench_add(&loop->sent_packets, batch->packets);
    bench_add(&loop->sent_batches, 1);
    batch->packets = 0;
    batch->pieces = 0;
    batch->total_bytes = 0;
}

/* Add a buffer's packets, as many at a time as the batch has room for. */
static void add_buffer(struct loop *loop, struct batch *batch, struct sockaddr_in *to, uint8_t *data,
                       uint32_t size, uint32_t segment_bytes)
{
    while (size > 0) {
        uint32_t room, bytes;
        if (batch->packets > 0 && batch->segment_bytes != segment_bytes)
            flush(loop, batch, to);
        room = (BATCH_BYTES - batch->total_bytes) / segment_bytes;
        if (room > BATCH_SEGMENTS - batch->packets)
            room = BATCH_SEGMENTS - batch->packets;
        if (room == 0 && batch->packets > 0) {
            flush(loop, batch, to);
            continue;
        }
        if (room == 0)
            room = 1;  /* larger than a batch: alone */
        bytes = size < room * segment_bytes ? size : room * segment_bytes;
        batch->segment_bytes = segment_bytes;
        batch->parts[batch->pieces++] = (struct iovec){data, bytes};
        batch->packets += (bytes + segment_bytes - 1) / segment_bytes;
        batch->total_bytes += bytes;
        data += bytes;
        size -= bytes;
        if (bytes % segment_bytes != 0)
            flush(loop, batch, to);  /* a shorter segment ends a batch */
    }
}

static void forward(struct loop *loop, struct state *state, int got)
{
    struct batch batch;
    batch.pieces = batch.packets = batch.total_bytes = 0;
    for (int i = 0; i < loop->destinations; i++) {
        struct sockaddr_in to = {
            .sin_family = AF_INET, .sin_port = htons(loop->ports[i]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        for (int k = 0; k < got; k++)
            if (state->segment_bytes[k] > 0)
                add_buffer(loop, &batch, &to, state->data[k], state->messages[k].msg_len, state->segment_bytes[k]);
        flush(loop, &batch, &to);
    }
}

int bench_loop(struct loop *loop)
{
    static struct state state;
    struct epoll_event ready[2];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int failure = 0, count;
    if (epoll < 0)
        return -errno;
    if (bench_watch(epoll, loop->stop_fd, 1) < 0 || bench_watch(epoll, loop->in_fd, 0) < 0)
        failure = errno;
    while (failure == 0) {
        count = epoll_wait(epoll, ready, 2, -1);
        if (count < 0 && errno != EINTR)
            failure = errno;
        for (int i = 0; i < count; i++) {
            if (ready[i].data.u32 == 1)
                goto done;
            forward(loop, &state, receive(&state, loop->in_fd));
        }
    }
done:
    close(epoll);
    return -failure;
}
