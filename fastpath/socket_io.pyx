"""recvmmsg with UDP_GRO, sendmsg with UDP_SEGMENT, epoll: how a worker meets the kernel.

Each feature the kernel lacks is switched off once, with an event that names it; the engine then
works without. Kernel receive times are of the realtime clock, one per coalesced buffer; they are
turned into an age at receipt, so that a step of that clock cannot reach the engine's own.
"""

from libc.errno cimport EAGAIN, ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, ENOBUFS, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from fastpath.address cimport address_from_sockaddr, address_t, sockaddr_storage, socklen_t
from fastpath.mailbox cimport EVENT_FALLBACK, mailbox_clear_bell, mailbox_post, message_t
from fastpath.overload cimport overload_note
from fastpath.pause cimport on_refused
from fastpath.receive cimport receive_buffer
from fastpath.verdict cimport (
    EMPTY_SPINS, RECEIVE_BATCHES, RECEIVE_TRUNCATED, SEND_REFUSED, SEND_WOULD_BLOCK, SOCKET_DROPPED, SPINS, WAKE_UPS,
)
from fastpath.worker cimport (
    PORT_VIEWER, count_many, batch_t, count, datagram_t, iovec, new_event, port_t, worker_t,
)

cdef extern from *:
    """
    #include <sys/socket.h>
    #include <sys/epoll.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #include <time.h>
    #include <string.h>
    #include <linux/sock_diag.h>
    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103
    #endif
    #ifndef UDP_GRO
    #define UDP_GRO 104
    #endif
    #ifndef SOL_UDP
    #define SOL_UDP 17
    #endif
    """

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec*)
    int CLOCK_MONOTONIC, CLOCK_REALTIME

cdef extern from "<sys/socket.h>" nogil:
    cdef struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    cdef struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr* CMSG_FIRSTHDR(msghdr*)
    cmsghdr* CMSG_NXTHDR(msghdr*, cmsghdr*)
    unsigned char* CMSG_DATA(cmsghdr*)
    size_t CMSG_SPACE(size_t)
    size_t CMSG_LEN(size_t)
    int recvmmsg(int, mmsghdr*, unsigned int, int, timespec*)
    ssize_t sendmsg(int, const msghdr*, int)
    int setsockopt(int, int, int, const void*, socklen_t)
    int getsockopt(int, int, int, void*, socklen_t*)
    ssize_t recvmsg(int, msghdr*, int)
    int MSG_DONTWAIT, MSG_ERRQUEUE, MSG_TRUNC, SOL_SOCKET, SO_TIMESTAMPNS, SCM_TIMESTAMPNS
    int SOL_UDP, UDP_SEGMENT, UDP_GRO, SO_MEMINFO

cdef extern from "<linux/sock_diag.h>" nogil:
    int SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_RCVBUF, SK_MEMINFO_DROPS

cdef extern from "<linux/errqueue.h>" nogil:
    cdef struct sock_extended_err:
        uint32_t ee_errno
        uint8_t ee_origin
    int SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_IP, IPPROTO_IPV6, IP_RECVERR, IPV6_RECVERR

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint32_t u32
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_pwait2(int, epoll_event*, int, const timespec*, const void*)
    int EPOLLERR, EPOLLET, EPOLLIN, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CLOEXEC

cdef extern from "<sys/timerfd.h>" nogil:
    cdef struct itimerspec:
        timespec it_interval
        timespec it_value
    int timerfd_create(int, int)
    int timerfd_settime(int, int, const itimerspec*, itimerspec*)
    int TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME

cdef extern from "<unistd.h>" nogil:
    int close(int)

cdef enum:
    RECEIVE_DATAGRAMS = 32       # buffers a call; with GRO each may hold 64 packets
    RECEIVE_BYTES = 65536
    CONTROL_BYTES = 128
    MEMORY_WORDS = 9             # SK_MEMINFO_VARS
    READY_EVENTS = 64
    ERRORS_A_TURN = 64           # ICMP messages read at once; the rest wait for the next turn
    COMMAND_BELL = 0xFFFFFFFF
    TIMER_BELL = 0xFFFFFFFE
    LOOK_US = 1000               # a port whose packets are as old as this has its queue looked at
    NO_GAP_US = 1000             # a gap that is as long as any wait awake, or longer, or not known
    LONGEST_NAP = 64             # sleeps without staying awake first, after that proved useless

cdef struct socket_io_t:
    mmsghdr messages[RECEIVE_DATAGRAMS]
    iovec vectors[RECEIVE_DATAGRAMS]
    sockaddr_storage sources[RECEIVE_DATAGRAMS]
    uint8_t controls[RECEIVE_DATAGRAMS][CONTROL_BYTES]
    uint8_t* buffers
    int given_back               # messages that the last call filled, to be made ready again
    epoll_event ready[READY_EVENTS]
    int ready_count
    int ready_at                 # of these, the next to be seen to
    int take                     # buffers a call, at most
    bint took_any                # since the last adaptation
    bint took_all                # and a call brought as many
    # the deadline, kept by the kernel
    int timer
    int64_t armed_us             # -1: it has fired, or was never set
    # staying awake
    int64_t gap_us               # between arrivals, smoothed
    int64_t taken_us             # the newest
    int naps                     # sleeps before the next try
    int nap                      # how many a try in vain costs


cdef int64_t monotonic_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef int64_t realtime_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef void fall_back(worker_t* worker, uint8_t feature, int reason) noexcept nogil:
    """Say it once."""
    cdef message_t* event
    if worker.fallbacks & feature:
        return
    worker.fallbacks |= feature
    event = new_event(worker, EVENT_FALLBACK)
    if event != NULL:
        event.kind_of = feature
        event.number = reason
        mailbox_post(&worker.events)


cdef int socket_io_open(worker_t* worker) noexcept nogil:
    cdef socket_io_t* io = <socket_io_t*>calloc(1, sizeof(socket_io_t))
    cdef epoll_event event
    worker.transmit_context = io
    if io == NULL:
        return -1
    io.timer = -1
    io.buffers = <uint8_t*>calloc(RECEIVE_DATAGRAMS, RECEIVE_BYTES)
    worker.epoll = epoll_create1(EPOLL_CLOEXEC)
    if io.buffers == NULL or worker.epoll < 0:
        return -1
    event.events = EPOLLIN | EPOLLET  # setting it again clears it
    event.data.u32 = <uint32_t>TIMER_BELL
    io.take = RECEIVE_DATAGRAMS
    io.armed_us = -1
    io.gap_us = NO_GAP_US
    io.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) if worker.use_timerfd else -1
    if io.timer >= 0 and epoll_ctl(worker.epoll, EPOLL_CTL_ADD, io.timer, &event) < 0:
        return -1
    lay_out_messages(io)
    event.events = EPOLLIN
    event.data.u32 = <uint32_t>COMMAND_BELL
    worker.transmit = socket_io_transmit
    return epoll_ctl(worker.epoll, EPOLL_CTL_ADD, worker.commands.eventfd, &event)


cdef void socket_io_close(worker_t* worker) noexcept nogil:
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    if io != NULL:
        if io.timer >= 0:
            close(io.timer)
        free(io.buffers)
        free(io)
        worker.transmit_context = NULL
    if worker.epoll >= 0:
        close(worker.epoll)
        worker.epoll = -1


cdef void socket_io_add_port(worker_t* worker, int32_t index) noexcept nogil:
    cdef port_t* port = &worker.ports[index]
    cdef epoll_event event
    cdef int on = 1
    if worker.use_gro and setsockopt(port.fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) < 0:
        worker.use_gro = False
        fall_back(worker, FALLBACK_GRO, errno)
    if setsockopt(port.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0:
        fall_back(worker, FALLBACK_TIMESTAMPS, errno)
    # ICMP about a viewer names where the packet went; only viewers' sockets want to know.
    if port.kind == PORT_VIEWER:
        setsockopt(port.fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on))
        setsockopt(port.fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on))  # refused on an IPv4 socket
    event.events = EPOLLIN
    event.data.u32 = <uint32_t>index
    epoll_ctl(worker.epoll, EPOLL_CTL_ADD, port.fd, &event)


cdef void socket_io_remove_port(worker_t* worker, int32_t index) noexcept nogil:
    cdef port_t* port = &worker.ports[index]
    if port.fd >= 0:
        epoll_ctl(worker.epoll, EPOLL_CTL_DEL, port.fd, NULL)
        close(port.fd)
        port.fd = -1


cdef int poll(worker_t* worker, int64_t timeout_us) noexcept nogil:
    """How many ports are ready within this time (negative: for ever). A bell is silenced before what it
    rang for is looked at."""
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    cdef timespec limit
    cdef int i, found
    limit.tv_sec = timeout_us // 1000000
    limit.tv_nsec = (timeout_us % 1000000) * 1000
    found = epoll_pwait2(worker.epoll, io.ready, READY_EVENTS, NULL if timeout_us < 0 else &limit, NULL)
    io.ready_at = 0
    io.ready_count = found if found > 0 else 0
    for i in range(io.ready_count):
        if io.ready[i].data.u32 == <uint32_t>COMMAND_BELL:
            mailbox_clear_bell(&worker.commands)
        elif io.ready[i].data.u32 == <uint32_t>TIMER_BELL:
            io.armed_us = -1
    return io.ready_count


cdef void sleep(worker_t* worker, int64_t due_us, int64_t now_us) noexcept nogil:
    """A timer that is set stays set: a sleep then costs no setting of the clock's hardware. One that
    fires before it is needed costs a turn."""
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    cdef itimerspec at
    count(worker, WAKE_UPS)
    if io.timer < 0 or due_us < 0:
        poll(worker, due_us - now_us if due_us >= 0 else -1)
        return
    if io.armed_us < 0 or io.armed_us > due_us:
        memset(&at, 0, sizeof(at))
        at.it_value.tv_sec = due_us // 1000000
        at.it_value.tv_nsec = (due_us % 1000000) * 1000
        timerfd_settime(io.timer, TFD_TIMER_ABSTIME, &at, NULL)
        io.armed_us = due_us
    poll(worker, -1)


cdef bint stay_awake(worker_t* worker, int64_t due_us, int64_t now_us) noexcept nogil:
    """If the next packet is expected sooner than a sleep and its end cost: wait for it here. True if
    something has come, or is due. What proves useless is tried less often."""
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    cdef int64_t until_us = now_us + worker.spin_us
    if io.gap_us > worker.spin_us:
        return False
    if io.naps > 0:
        io.naps -= 1
        return False
    if 0 <= due_us < until_us:
        until_us = due_us
    while now_us < until_us:
        if poll(worker, 0) > 0:
            count(worker, SPINS)
            io.nap = 0
            return True
        now_us = monotonic_us()
    if now_us >= due_us >= 0:
        return True
    count(worker, EMPTY_SPINS)
    io.nap = 2 * io.nap if 0 < io.nap < LONGEST_NAP else (io.nap if io.nap > 0 else 1)
    io.naps = io.nap
    return False


cdef bint socket_io_wait(worker_t* worker, int64_t due_us, int64_t now_us) noexcept nogil:
    """Until a port is ready or the time has come (negative: never). True if a port is."""
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    if io.ready_at < io.ready_count:
        return True  # left over from the last turn, with whatever has become ready since to follow
    if 0 <= due_us <= now_us:
        poll(worker, 0)
    elif worker.spin_us == 0 or not stay_awake(worker, due_us, now_us):
        sleep(worker, due_us, now_us)
    return io.ready_count > 0


cdef void note_arrival(worker_t* worker, int64_t now_us) noexcept nogil:
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    cdef int64_t gap_us = now_us - io.taken_us
    io.taken_us = now_us
    io.gap_us += ((gap_us if gap_us < NO_GAP_US else NO_GAP_US) - io.gap_us) // 4


cdef void look_at_queue(worker_t* worker, int32_t index) noexcept nogil:
    """How full a socket's queue is, and what the kernel has dropped for want of room (sock_diag(7))."""
    cdef port_t* port = &worker.ports[index]
    cdef uint32_t memory[MEMORY_WORDS]
    cdef socklen_t size = sizeof(memory)
    cdef uint32_t dropped
    port.batches = 0
    if getsockopt(port.fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0 or size < sizeof(memory):
        return
    dropped = memory[SK_MEMINFO_DROPS] - port.dropped
    if dropped > 0:
        count_many(worker, SOCKET_DROPPED, dropped)
        port.dropped = memory[SK_MEMINFO_DROPS]
    if dropped > 0 or memory[SK_MEMINFO_RMEM_ALLOC] > memory[SK_MEMINFO_RCVBUF] // 2:
        worker.overload.is_filling = True


cdef void read_controls(msghdr* message, uint32_t* segment_bytes, int64_t* stamp_us) noexcept nogil:
    """GRO's segment size and the kernel's receive time, where given."""
    cdef cmsghdr* control = CMSG_FIRSTHDR(message)
    cdef timespec stamp
    cdef int size
    while control != NULL:
        if control.cmsg_level == SOL_UDP and control.cmsg_type == UDP_GRO:
            memcpy(&size, CMSG_DATA(control), sizeof(int))
            segment_bytes[0] = <uint32_t>size
        elif control.cmsg_level == SOL_SOCKET and control.cmsg_type == SCM_TIMESTAMPNS:
            memcpy(&stamp, CMSG_DATA(control), sizeof(timespec))
            stamp_us[0] = <int64_t>stamp.tv_sec * 1000000 + stamp.tv_nsec // 1000
        control = CMSG_NXTHDR(message, control)


cdef void make_ready(socket_io_t* io, int number) noexcept nogil:
    """Set what the kernel writes in the first few messages it filled (recvmsg(2))."""
    cdef int i
    for i in range(number):
        io.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        io.messages[i].msg_hdr.msg_controllen = CONTROL_BYTES
        io.messages[i].msg_hdr.msg_flags = 0


cdef void lay_out_messages(socket_io_t* io) noexcept nogil:
    cdef msghdr* message
    cdef int i
    for i in range(RECEIVE_DATAGRAMS):
        message = &io.messages[i].msg_hdr
        io.vectors[i].iov_base = io.buffers + <size_t>i * RECEIVE_BYTES
        io.vectors[i].iov_len = RECEIVE_BYTES
        message.msg_name = &io.sources[i]
        message.msg_iov = &io.vectors[i]
        message.msg_iovlen = 1
        message.msg_control = &io.controls[i][0]
    make_ready(io, RECEIVE_DATAGRAMS)


cdef int receive_batch(worker_t* worker, int32_t port) noexcept nogil:
    """One recvmmsg of what has already arrived; how many buffers it filled."""
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    cdef msghdr* message
    cdef datagram_t datagram
    cdef int i, got
    cdef int64_t now_us, offset_us, stamp_us, age_us
    cdef uint32_t segment_bytes
    make_ready(io, io.given_back)
    got = recvmmsg(worker.ports[port].fd, io.messages, <unsigned int>io.take, MSG_DONTWAIT, NULL)
    io.given_back = got if got > 0 else 0
    if got <= 0:
        return 0
    count(worker, RECEIVE_BATCHES)
    now_us = monotonic_us()
    offset_us = realtime_us()
    datagram.port = port
    for i in range(got):
        message = &io.messages[i].msg_hdr
        if message.msg_flags & MSG_TRUNC:
            count(worker, RECEIVE_TRUNCATED)
            continue
        segment_bytes = 0
        stamp_us = offset_us
        read_controls(message, &segment_bytes, &stamp_us)
        age_us = offset_us - stamp_us
        # An age that no queue explains comes from a step of the realtime clock.
        if age_us < 0 or age_us > 1000000:
            age_us = 0
        datagram.arrival_us = now_us - age_us
        overload_note(&worker.overload, age_us)
        address_from_sockaddr(&io.sources[i], &datagram.source)
        receive_buffer(
            worker, io.buffers + <size_t>i * RECEIVE_BYTES, io.messages[i].msg_len, segment_bytes, &datagram, now_us
        )
    return got


cdef void receive_errors(worker_t* worker, int32_t port, int64_t now_us) noexcept nogil:
    """ICMP messages about packets that this port sent: each names the destination (ip(7))."""
    cdef msghdr message
    cdef sockaddr_storage destination
    cdef uint8_t control[512]
    cdef cmsghdr* header
    cdef const sock_extended_err* error
    cdef address_t refused
    cdef int i
    for i in range(ERRORS_A_TURN):
        memset(&message, 0, sizeof(message))
        message.msg_name = &destination
        message.msg_namelen = sizeof(destination)
        message.msg_control = control
        message.msg_controllen = sizeof(control)
        if recvmsg(worker.ports[port].fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0:
            return
        header = CMSG_FIRSTHDR(&message)
        while header != NULL:
            if header.cmsg_level == IPPROTO_IP or header.cmsg_level == IPPROTO_IPV6:
                error = <const sock_extended_err*>CMSG_DATA(header)
                if (
                    (error.ee_origin == SO_EE_ORIGIN_ICMP or error.ee_origin == SO_EE_ORIGIN_ICMP6)
                    and (error.ee_errno == ECONNREFUSED or error.ee_errno == EHOSTUNREACH)
                ):
                    address_from_sockaddr(&destination, &refused)
                    on_refused(worker, port, &refused, now_us)
            header = CMSG_NXTHDR(&message, header)


cdef void receive_port(worker_t* worker, const epoll_event* event, int64_t now_us) noexcept nogil:
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    cdef int32_t index = <int32_t>event.data.u32
    cdef port_t* port = &worker.ports[index]
    cdef int taken
    if port.fd < 0:
        return
    if event.events & EPOLLERR:
        receive_errors(worker, index, now_us)
    taken = receive_batch(worker, index)
    port.batches += 1
    if taken == io.take:
        io.took_all = True
    if taken == io.take or port.batches == 0 or worker.overload.step > 0 or worker.overload.oldest_us > LOOK_US:
        look_at_queue(worker, index)


cdef void socket_io_receive(worker_t* worker, int64_t began_us) noexcept nogil:
    """One batch from each ready port: no port waits for another's backlog. After a while the rest is
    left to the next turn, which begins there."""
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    cdef int64_t now_us = began_us
    cdef uint64_t batches = worker.counters[<int>RECEIVE_BATCHES]
    while io.ready_at < io.ready_count and now_us - began_us < TURN_US:
        if io.ready[io.ready_at].data.u32 < <uint32_t>TIMER_BELL:
            receive_port(worker, &io.ready[io.ready_at], now_us)
        io.ready_at += 1
        if io.ready_at < io.ready_count:
            now_us = monotonic_us()
    if worker.counters[<int>RECEIVE_BATCHES] != batches:
        io.took_any = True
        note_arrival(worker, began_us)


cdef void socket_io_adapt(worker_t* worker, int64_t spent_us) noexcept nogil:
    """All that was taken has been sent, in this time: take as much less, or if there was more, more."""
    cdef socket_io_t* io = <socket_io_t*>worker.transmit_context
    if not io.took_any:
        return  # what took this time came from elsewhere
    if spent_us > TURN_US:
        io.take = <int>(io.take * TURN_US // spent_us)
        if io.take < 1:
            io.take = 1
    elif io.took_all and spent_us < TURN_US // 2:
        io.take = 2 * io.take if 2 * io.take < RECEIVE_DATAGRAMS else RECEIVE_DATAGRAMS
    io.took_any = False
    io.took_all = False


cdef ssize_t send_now(int fd, const msghdr* message) noexcept nogil:
    """sendmsg; once more if what it reported was an earlier packet's ICMP error, which it does
    instead of sending (ip(7), IP_RECVERR)."""
    cdef ssize_t sent = sendmsg(fd, message, MSG_DONTWAIT)
    if sent < 0 and (errno == ECONNREFUSED or errno == EHOSTUNREACH or errno == ENETUNREACH):
        sent = sendmsg(fd, message, MSG_DONTWAIT)
    return sent


cdef int32_t send_one_by_one(worker_t* worker, const batch_t* batch, msghdr* message) noexcept nogil:
    """Without UDP_SEGMENT: each packet of the batch in a call of its own. How many were refused."""
    cdef int32_t refused = 0
    cdef int32_t first = 0
    cdef int32_t last
    cdef size_t size
    message.msg_control = NULL
    message.msg_controllen = 0
    while first < batch.pieces:
        last = first
        size = 0
        while last < batch.pieces and size < batch.segment_bytes:
            size += batch.parts[last].iov_len
            last += 1
        message.msg_iov = <iovec*>&batch.parts[first]
        message.msg_iovlen = <size_t>(last - first)
        if send_now(worker.ports[batch.port].fd, message) < 0:
            count(worker, SEND_WOULD_BLOCK if errno == EAGAIN or errno == ENOBUFS else SEND_REFUSED)
            refused += 1
        first = last
    return refused


cdef void socket_io_transmit(worker_t* worker, const batch_t* batch) noexcept nogil:
    cdef msghdr message
    cdef uint8_t control[64]
    cdef cmsghdr* header
    cdef uint16_t segment_bytes = <uint16_t>batch.segment_bytes
    cdef int failure
    if worker.ports[batch.port].fd < 0:
        return
    memset(&message, 0, sizeof(message))
    message.msg_name = <void*>batch.address
    message.msg_namelen = batch.address_bytes
    message.msg_iov = <iovec*>&batch.parts[0]
    message.msg_iovlen = <size_t>batch.pieces
    if batch.packets > 1:
        memset(control, 0, sizeof(control))
        message.msg_control = control
        message.msg_controllen = CMSG_SPACE(sizeof(uint16_t))
        header = CMSG_FIRSTHDR(&message)
        header.cmsg_level = SOL_UDP
        header.cmsg_type = UDP_SEGMENT
        header.cmsg_len = CMSG_LEN(sizeof(uint16_t))
        memcpy(CMSG_DATA(header), &segment_bytes, sizeof(uint16_t))
    if send_now(worker.ports[batch.port].fd, &message) >= 0:
        return
    failure = errno
    if failure == EAGAIN or failure == ENOBUFS:
        count_many(worker, SEND_WOULD_BLOCK, <uint64_t>batch.packets)
    elif batch.packets > 1 and failure != ECONNREFUSED:
        # Is it the kernel, the path's MTU (EMSGSIZE) or this destination? Single packets tell: only
        # what they can do and a batch cannot is the kernel's lack.
        if send_one_by_one(worker, batch, &message) == 0 and failure != EMSGSIZE:
            worker.use_gso = False
            fall_back(worker, FALLBACK_GSO, failure)
    else:
        count_many(worker, SEND_REFUSED, <uint64_t>batch.packets)
