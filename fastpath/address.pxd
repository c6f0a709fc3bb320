# A UDP address as the engine compares, hashes and sends to it.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp

cdef extern from "<netinet/in.h>" nogil:
    ctypedef uint32_t socklen_t
    cdef struct sockaddr_storage:
        unsigned short ss_family
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    int AF_INET, AF_INET6

ctypedef struct address_t:
    uint8_t ip[16]               # IPv4 in the first four, the rest 0
    uint16_t port                # host order
    uint8_t is_v6

cdef void address_from_sockaddr(const sockaddr_storage* source, address_t* address) noexcept nogil
cdef socklen_t address_to_sockaddr(const address_t* address, sockaddr_storage* target) noexcept nogil
cdef int address_from_python(object value, address_t* address) except -1
cdef object address_to_python(const address_t* address)


cdef inline bint address_same_host(const address_t* a, const address_t* b) noexcept nogil:
    """Whatever the ports: RTP and RTCP of one side leave from two."""
    return a.is_v6 == b.is_v6 and memcmp(a.ip, b.ip, 16) == 0


cdef inline bint address_equal(const address_t* a, const address_t* b) noexcept nogil:
    return a.port == b.port and address_same_host(a, b)


cdef inline uint32_t address_hash(const address_t* a) noexcept nogil:
    """FNV-1a; peers come from configuration, so nobody can choose colliding ones."""
    cdef uint32_t h = 2166136261u
    cdef int i
    for i in range(16 if a.is_v6 else 4):
        h = (h ^ a.ip[i]) * 16777619u
    h = (h ^ (a.port & 0xFF)) * 16777619u
    return (h ^ (a.port >> 8)) * 16777619u
