/* SipHash-2-4 (Aumasson and Bernstein, 2012) of exactly 48 bytes: what a media packet's tag covers.

   Unrolled, in registers: 18 rounds in one chain of dependent operations, about 30 ns at 3 GHz.
   Little-endian hosts only. */
#ifndef BENCH_SIPHASH_H
#define BENCH_SIPHASH_H

#include <stdint.h>
#include <string.h>

struct sip_key {
    uint64_t k0, k1;
};

static inline uint64_t sip_rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

#define SIP_ROUND \
    do { \
        v0 += v1; v1 = sip_rotate(v1, 13) ^ v0; v0 = sip_rotate(v0, 32); \
        v2 += v3; v3 = sip_rotate(v3, 16) ^ v2; \
        v0 += v3; v3 = sip_rotate(v3, 21) ^ v0; \
        v2 += v1; v1 = sip_rotate(v1, 17) ^ v2; v2 = sip_rotate(v2, 32); \
    } while (0)
#define SIP_WORD(word) \
    do { v3 ^= (word); SIP_ROUND; SIP_ROUND; v0 ^= (word); } while (0)

static inline uint64_t siphash_48(uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3, uint64_t w4, uint64_t w5,
                                  const struct sip_key *key)
{
    uint64_t v0 = key->k0 ^ 0x736F6D6570736575, v1 = key->k1 ^ 0x646F72616E646F6D;
    uint64_t v2 = key->k0 ^ 0x6C7967656E657261, v3 = key->k1 ^ 0x7465646279746573;
    SIP_WORD(w0);
    SIP_WORD(w1);
    SIP_WORD(w2);
    SIP_WORD(w3);
    SIP_WORD(w4);
    SIP_WORD(w5);
    SIP_WORD((uint64_t)48 << 56);
    v2 ^= 0xFF;
    SIP_ROUND;
    SIP_ROUND;
    SIP_ROUND;
    SIP_ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

#endif
