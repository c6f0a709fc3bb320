/* The system calls of a relay: the same for both loops, with the engine's calls and sizes
   (fastpath/socket_io.pyx, worker.pxd). */
#ifndef BENCH_RELAY_IO_H
#define BENCH_RELAY_IO_H

#include "common.h"

enum {
    BUFFERS = 32,                  /* that one recvmmsg may fill */
    BUFFER_BYTES = 65536,
    CONTROL_BYTES = 128,
    BATCH_SEGMENTS = 64,
    BATCH_BYTES = 65000,
};

struct inbox {
    struct mmsghdr messages[BUFFERS];
    struct iovec vectors[BUFFERS];
    struct sockaddr_storage sources[BUFFERS];
    uint8_t controls[BUFFERS][CONTROL_BYTES];
    uint32_t sizes[BUFFERS];
    uint32_t segment_bytes[BUFFERS];
    int given_back;                /* messages that the last call filled, to be made ready again */
    uint8_t data[BUFFERS][BUFFER_BYTES];
};

struct batch {
    struct iovec parts[BATCH_SEGMENTS];
    uint32_t pieces;
    uint32_t packets;
    uint32_t segment_bytes;
    uint32_t total_bytes;
};

/* Once, before the first call; an inbox stays where it is. */
void bench_lay_out(struct inbox *inbox);
/* One recvmmsg of what has arrived, with receive times; how many buffers it filled. */
int bench_receive(const struct route *route, struct inbox *inbox);
/* Send the batch in one call, count it, and empty it. */
void bench_flush(struct route *route, struct batch *batch, struct sockaddr_in *to);
/* Call `forward` each time packets may have arrived, until stop_fd is readable. */
int bench_serve(struct route *route, void (*forward)(void *context), void *context);

static inline struct sockaddr_in bench_receiver(const struct route *route, uint32_t link)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(route->ports[link]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static inline uint32_t bench_groups(const struct route *route)
{
    return route->links / route->fanout;
}

#endif
