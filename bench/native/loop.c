/* The floor: what the kernel asks for taking packets in and sending each to its links.

   epoll, one recvmmsg of up to 32 coalesced buffers with their receive times, then for each link
   UDP_SEGMENT sends of up to 64 packets and 65,000 bytes, straight from the receive buffers. No
   packet is checked, stored or changed. Where streams go to different links, a buffer's first
   header is read for its stream: the generator sends one frame, so one stream, in a buffer. */
#include "relay_io.h"
#include "overlay.h"

#include <stdlib.h>

struct loop {
    struct route *route;
    uint32_t groups;
    int32_t *first;                /* of each group: its buffers of this turn, or -1 */
    int32_t *last;
    int32_t next[BUFFERS];
    uint32_t dirty[BUFFERS];       /* groups with buffers */
    uint32_t dirty_count;
    struct inbox inbox;
};

/* Add a buffer's packets, as many at a time as the batch has room for. */
static void add_buffer(struct route *route, struct batch *batch, struct sockaddr_in *to, uint8_t *data, uint32_t size,
                       uint32_t segment_bytes)
{
    while (size > 0) {
        uint32_t room, bytes;
        if (batch->packets > 0 && batch->segment_bytes != segment_bytes)
            bench_flush(route, batch, to);
        room = (BATCH_BYTES - batch->total_bytes) / segment_bytes;
        if (room > BATCH_SEGMENTS - batch->packets)
            room = BATCH_SEGMENTS - batch->packets;
        if (room == 0 && batch->packets > 0) {
            bench_flush(route, batch, to);
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
            bench_flush(route, batch, to);  /* a shorter segment ends a batch */
    }
}

static uint32_t group_of(const struct loop *loop, int buffer)
{
    const struct route *route = loop->route;
    if (loop->groups == 1 || loop->inbox.sizes[buffer] < LEG_BYTES)
        return 0;
    return (load_be32(loop->inbox.data[buffer] + 8) - route->first_stream_id) % loop->groups;
}

/* Put each buffer into its group's list. */
static void sort_buffers(struct loop *loop, int got)
{
    loop->dirty_count = 0;
    for (int32_t i = 0; i < got; i++) {
        uint32_t group = group_of(loop, i);
        if (loop->inbox.sizes[i] == 0)
            continue;
        loop->next[i] = -1;
        if (loop->first[group] < 0) {
            loop->first[group] = i;
            loop->dirty[loop->dirty_count++] = group;
        } else {
            loop->next[loop->last[group]] = i;
        }
        loop->last[group] = i;
    }
}

static void forward(void *context)
{
    struct loop *loop = context;
    struct route *route = loop->route;
    struct inbox *inbox = &loop->inbox;
    struct batch batch;
    batch.pieces = batch.packets = batch.total_bytes = 0;
    sort_buffers(loop, bench_receive(route, inbox));
    for (uint32_t i = 0; i < loop->dirty_count; i++) {
        uint32_t group = loop->dirty[i];
        for (uint32_t k = 0; k < route->fanout; k++) {
            struct sockaddr_in to = bench_receiver(route, group * route->fanout + k);
            for (int32_t at = loop->first[group]; at >= 0; at = loop->next[at])
                add_buffer(route, &batch, &to, inbox->data[at], inbox->sizes[at], inbox->segment_bytes[at]);
            bench_flush(route, &batch, &to);
        }
        loop->first[group] = -1;
    }
}

int bench_loop(struct route *route)
{
    struct loop *loop = calloc(1, sizeof *loop);
    int result = -ENOMEM;
    if (loop == NULL)
        return result;
    loop->route = route;
    bench_lay_out(&loop->inbox);
    loop->groups = bench_groups(route);
    loop->first = malloc(loop->groups * sizeof *loop->first);
    loop->last = malloc(loop->groups * sizeof *loop->last);
    if (loop->first != NULL && loop->last != NULL) {
        for (uint32_t i = 0; i < loop->groups; i++)
            loop->first[i] = -1;
        result = bench_serve(route, forward, loop);
    }
    free(loop->first);
    free(loop->last);
    free(loop);
    return result;
}
