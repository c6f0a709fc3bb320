"""UDP addresses in native form: compare, hash, convert."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

import ipaddress

cdef extern from "<arpa/inet.h>" nogil:
    unsigned short htons(unsigned short)
    unsigned short ntohs(unsigned short)


cdef void address_from_sockaddr(const sockaddr_storage* source, address_t* address) noexcept nogil:
    cdef const sockaddr_in* v4 = <const sockaddr_in*>source
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>source
    memset(address, 0, sizeof(address_t))
    if source.ss_family == AF_INET6:
        address.is_v6 = 1
        memcpy(address.ip, v6.sin6_addr.s6_addr, 16)
        address.port = ntohs(v6.sin6_port)
    else:
        memcpy(address.ip, &v4.sin_addr.s_addr, 4)
        address.port = ntohs(v4.sin_port)


cdef socklen_t address_to_sockaddr(const address_t* address, sockaddr_storage* target) noexcept nogil:
    cdef sockaddr_in* v4 = <sockaddr_in*>target
    cdef sockaddr_in6* v6 = <sockaddr_in6*>target
    memset(target, 0, sizeof(sockaddr_storage))
    if address.is_v6:
        v6.sin6_family = <unsigned short>AF_INET6
        v6.sin6_port = htons(address.port)
        memcpy(v6.sin6_addr.s6_addr, address.ip, 16)
        return sizeof(sockaddr_in6)
    v4.sin_family = <unsigned short>AF_INET
    v4.sin_port = htons(address.port)
    memcpy(&v4.sin_addr.s_addr, address.ip, 4)
    return sizeof(sockaddr_in)


cdef int address_from_python(object value, address_t* address) except -1:
    """(host, port) with a literal IPv4 or IPv6 host. Raises ValueError."""
    host, port = value
    packed = ipaddress.ip_address(host).packed
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is outside 1..65535")
    memset(address, 0, sizeof(address_t))
    memcpy(address.ip, <const uint8_t*>(<bytes>packed), len(packed))
    address.is_v6 = len(packed) == 16
    address.port = port
    return 0


cdef object address_to_python(const address_t* address):
    cdef bytes packed = (<const uint8_t*>address.ip)[: 16 if address.is_v6 else 4]
    return (str(ipaddress.ip_address(packed)), address.port)
