# The world of a virtual overlay, natively: everything at one place, and what moves it on.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.address cimport address_t
from fastpath.siphash cimport siphash_key_t
from fastpath.virtual_io cimport outbox_t
from fastpath.worker cimport worker_t
from lab.virtual.encoder cimport encoder_t
from lab.virtual.path cimport path_t
from lab.virtual.queue cimport queue_t
from lab.virtual.viewer cimport viewer_t

cdef enum:
    OVERLAY_PORT = 7000
    VIDEO_PORT = 6004
    AUDIO_PORT = 6006
    VIEWER_NET = 128             # second byte of viewers' addresses, and above
    ENCODER_NET = 64
    INDEX_MASK = 0xFFFFF         # fastpath/handles.py
    WORKER_SHIFT = 52            # relay/workers.py
    LOOPBACK_US = 30             # between workers of one host: a system call and a wake-up
    ENCODER_MARK = 0x10000000    # tells numbers of encoders and viewers from those of hosts
    VIEWER_MARK = 0x20000000
    STAY_SHIFT = 20              # with a place, which stay of a viewer a datagram is for
    PLACE_MASK = 0xFFFFF

ctypedef struct host_t:
    worker_t* worker             # NULL: nobody answers there
    outbox_t* outbox
    int64_t* turned_us
    int32_t overlay_port
    int64_t timer_us             # of the newest HOST_TIMER in the queue; -1: none
    bint is_open                 # a turn has begun at this moment
    bint is_woken
    address_t address

ctypedef struct access_t:        # what is between a host and those behind it
    path_t forward               # in the direction of the media
    path_t back

ctypedef struct world_t:
    int64_t now_us
    queue_t queue
    host_t* hosts                # a place for each worker: worker * host_count + host
    int32_t host_count
    int32_t place_count
    path_t** paths               # host_count^2, row = sender; NULL: not joined
    encoder_t* encoders
    int32_t encoder_count
    viewer_t** viewers
    int32_t viewer_count
    access_t* accesses
    int32_t access_count
    int32_t* access_of_viewer    # -1: none
    int64_t* beyond_us           # of viewers: one way, on top of the access path's delay
    int32_t* access_of_encoder
    int32_t* open_hosts          # whose turn has begun
    int32_t open_count
    bint has_told                # an engine has events
    bint is_out_of_memory
    siphash_key_t digest
    uint64_t datagrams
    uint64_t unjoined            # sent where no path leads
    uint64_t turns
    # Faults on purpose; 0: none. Of each so many-th packet or frame.
    int32_t echo_every           # a packet comes twice to its viewer
    int32_t lose_every           # a packet to a viewer does not come
    int32_t lose_between_every   # a datagram between nodes, and no path knows of it
    int32_t omit_video_every     # a frame is left out and the numbers of those behind it go on, as if it was none
    int32_t omit_audio_every
    uint64_t to_viewers
    uint64_t to_nodes

cdef void set_timer(world_t* world, int32_t index, int64_t due_us) noexcept nogil
cdef void plan_encoder(world_t* world, int32_t number, bint is_video) noexcept nogil
cdef void run_world(world_t* world, int64_t until_us) noexcept nogil
