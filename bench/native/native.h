/* What Python may call. Read by the compiler and by cffi, so: plain declarations, nothing else.
   Functions that block run without the GIL; all return 0 or more, or minus an errno. */

/* -- the sending side ------------------------------------------------------------------------- */

/* One frame of one stream: packets that leave in one system call. */
struct frame {
    int64_t due_ns;                /* after the start */
    uint32_t stream;               /* index */
    uint16_t packets;
    uint8_t is_key;                /* first of a group of pictures */
    uint8_t unused;
};
struct track {                     /* of a stream: what its next packet has */
    uint32_t stream_seq;           /* its low half is the RTP sequence number */
    uint32_t frames;
};
struct generator {
    int fd;                        /* a connected UDP socket */
    int is_overlay;                /* overlay datagrams with valid tags; else plain RTP */
    uint32_t payload_bytes;        /* an RTP packet, header included */
    uint32_t first_stream_id;      /* of stream 0; the others follow. Also the SSRC */
    struct track *tracks;
    uint64_t hop_seq;              /* last used on this link */
    uint8_t key[16];
    uint8_t prefix[4];             /* before each packet, as the relay's protocol has it */
    uint32_t prefix_bytes;
    const uint16_t *ports;         /* of the loopback address; frames go to one after the other */
    uint32_t port_count;           /* 0: all go where the socket is connected to */
    uint32_t next_port;
};
/* Send the frames, each when it is due; how long that took in nanoseconds. A signal ends it (-EINTR). */
int64_t bench_generate(struct generator *generator, const struct frame *frames, int64_t count);

/* -- the receiving side ----------------------------------------------------------------------- */

struct sink {
    const int *fds;
    int count;
    int stop_fd;                   /* an eventfd: readable means return */
    int is_overlay;                /* only media is counted in `packets` */
    uint32_t packet_bytes;         /* of a datagram that carries media */
    uint32_t sample_every;         /* read the time stamps of a datagram after so many; 0: of none */
    uint64_t packets;
    uint64_t other_datagrams;      /* overlay datagrams that are not media: probes, HELLOs, reports */
    uint64_t odd_bytes;            /* in buffers that are no whole number of packets */
    uint64_t samples;              /* packets whose delay is in `delays` */
    uint64_t *delays;              /* bench_delay_buckets() of them */
};
int bench_sink(struct sink *sink);
int bench_delay_buckets(void);
int bench_delay_bucket(int64_t delay_ns);
/* The largest delay that falls into a bucket. */
int64_t bench_delay_of(int bucket);

/* -- relays to compare with ------------------------------------------------------------------- */

/* What a relay has sent, and in how many packets a system call: 1, 2, 3-4, 5-8, ... 33-64. */
struct tally {
    uint64_t packets;
    uint64_t batches;
    uint64_t refused_packets;
    uint64_t batch_sizes[7];
};
/* Where packets come from and go to. A stream's packets go to all links of its group: links are
   numbered through, `fanout` a group, and stream number n belongs to group n % (links / fanout). */
struct route {
    int in_fd;
    int out_fd;                    /* -1: what would be sent is only counted */
    int stop_fd;
    int is_overlay;                /* streams are told apart by the overlay header */
    const uint16_t *ports;         /* of the receivers, on the loopback address; one a link */
    uint32_t links;
    uint32_t fanout;
    uint32_t streams;
    uint32_t first_stream_id;
    uint32_t buffers;              /* that one recvmmsg fills; 0: as many as the engine's */
    int one_by_one;                /* no UDP_SEGMENT: each packet in a system call of its own */
    struct tally sent;
};

/* The relay that does nothing but the system calls. */
int bench_loop(struct route *route);

/* The relay that also does what any relay of this design must: see loop_plus.c. */
struct loop_plus;
struct loop_plus_counts {
    uint64_t taken;
    uint64_t bad_tag;
    uint64_t replayed;
    uint64_t refused;              /* malformed, no media, unknown stream, hop limit */
};
/* ring_slots: a power of two, at least 256. Keys: 16 bytes each. NULL: no memory, or bad sizes.
   The route is borrowed until loop_plus_close. */
struct loop_plus *loop_plus_open(struct route *route, uint32_t ring_slots, const uint8_t *receive_key,
                                 const uint8_t *send_key);
void loop_plus_close(struct loop_plus *plus);
/* Take in one received buffer, cut at `segment` bytes. */
void loop_plus_take(struct loop_plus *plus, const uint8_t *data, uint32_t size, uint32_t segment);
/* Send what was taken since, to each link of its stream. */
void loop_plus_send(struct loop_plus *plus);
const struct loop_plus_counts *loop_plus_counts(const struct loop_plus *plus);
int bench_loop_plus(struct loop_plus *plus);

/* -- the rest --------------------------------------------------------------------------------- */

/* Move the calling thread, and all it starts later, to a network namespace with only `lo`. */
int bench_private_network(void);
/* A counter that another thread writes, and a setting that it reads. */
uint64_t bench_read(const uint64_t *counter);
void bench_set(uint32_t *setting, uint32_t value);
/* SipHash-2-4 of 48 bytes, as the header's tag is made. key: 16 bytes. */
uint64_t bench_siphash_48(const uint8_t *data, const uint8_t *key);
