/* What Python may call. Read by the compiler and by cffi, so: plain declarations, nothing else.
   Every function blocks, runs without the GIL, and returns 0 or more, or minus an errno. */

/* The encoder's side: bursts of packets_per_burst RTP packets of H.264, one frame a burst. */
struct generator {
    int fd;                        /* a connected UDP socket */
    uint32_t packet_bytes;
    uint32_t packets_per_burst;
    uint32_t bursts_per_gop;
    uint32_t frames;               /* made so far */
    uint16_t sequence_number;      /* of the next packet */
};
/* Sends `bursts` of them, one each interval_ns; how long that took in nanoseconds. */
int64_t bench_generate(struct generator *generator, int64_t bursts, double interval_ns);

/* The receivers' side: counts what arrives on all sockets. */
struct sink {
    const int *fds;
    int count;
    int stop_fd;                   /* an eventfd: readable means return */
    uint32_t packet_bytes;
    uint64_t packets;
    uint64_t odd_bytes;            /* in buffers that are no whole number of packets */
};
int bench_sink(struct sink *sink);

/* The relay that does nothing but the system calls. */
struct loop {
    int in_fd;
    int out_fd;
    int stop_fd;
    const uint16_t *ports;         /* receivers, on the loopback address */
    int destinations;
    uint64_t sent_packets;
    uint64_t sent_batches;
    uint64_t refused_packets;
};
int bench_loop(struct loop *loop);

/* Move the calling thread, and all it starts later, to a network namespace with only `lo`. */
int bench_private_network(void);

/* A counter that another thread writes. */
uint64_t bench_read(const uint64_t *counter);
