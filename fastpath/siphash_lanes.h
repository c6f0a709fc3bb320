/* SipHash-2-4 of media packets where they lie: one at a time, or several in the lanes of vector
 * registers, as the processor allows (Aumasson and Bernstein, 2012, section 2).
 *
 * A plain media packet is header (24 bytes), tag (8), payload. Its tag covers the header, the high half
 * of hop_seq and the payload's length (4 bytes each, network order), and the payload's first 16 bytes:
 * 48 bytes, so six words, and a last one that is the same for all. Little-endian hosts only. */
#ifndef OVERLANE_SIPHASH_LANES_H
#define OVERLANE_SIPHASH_LANES_H

#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t* start;        /* of the header; readable to the payload's 16th byte */
    uint32_t high;               /* half of hop_seq */
    uint32_t payload_bytes;      /* 16 or more */
} overlane_covered_t;

#define OVERLANE_PAYLOAD_AT 32
#define OVERLANE_LAST_WORD (48ull << 56)

static inline uint64_t overlane_word(const overlane_covered_t* packet, int at) {
    uint64_t word;
    memcpy(&word, packet->start + at, 8);
    return word;
}

static inline uint64_t overlane_lengths(const overlane_covered_t* packet) {
    return (uint64_t)__builtin_bswap32(packet->high) | (uint64_t)__builtin_bswap32(packet->payload_bytes) << 32;
}

/* The hash over a word, or over vectors of words with a packet in each lane. S names the state's four
 * variables, WORDS(first, f, ...) gathers f(packet, ...) of the lanes from `first` on, BY_32 and BY_16
 * rotate by as much. */
#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
#define BEGIN(lanes_t, S) \
    lanes_t S##0 = (lanes_t){0} + (k0 ^ 0x736F6D6570736575ull), S##1 = (lanes_t){0} + (k1 ^ 0x646F72616E646F6Dull); \
    lanes_t S##2 = (lanes_t){0} + (k0 ^ 0x6C7967656E657261ull), S##3 = (lanes_t){0} + (k1 ^ 0x7465646279746573ull);
#define ROUND(S) \
    S##0 += S##1; S##1 = ROTATE(S##1, 13) ^ S##0; S##0 = BY_32(S##0); \
    S##2 += S##3; S##3 = BY_16(S##3) ^ S##2; \
    S##0 += S##3; S##3 = ROTATE(S##3, 21) ^ S##0; \
    S##2 += S##1; S##1 = ROTATE(S##1, 17) ^ S##2; S##2 = BY_32(S##2);
#define EACH_WORD(ABSORB) \
    ABSORB(overlane_word, 0) ABSORB(overlane_word, 8) ABSORB(overlane_word, 16) ABSORB(overlane_lengths) \
    ABSORB(overlane_word, OVERLANE_PAYLOAD_AT) ABSORB(overlane_word, OVERLANE_PAYLOAD_AT + 8)
#define ALL(S) (S##0 ^ S##1 ^ S##2 ^ S##3)

#define ONE_STATE(lanes_t) \
    lanes_t word; \
    BEGIN(lanes_t, v) \
    EACH_WORD(ABSORB) \
    v3 ^= OVERLANE_LAST_WORD; ROUND(v) ROUND(v) v0 ^= OVERLANE_LAST_WORD; \
    v2 ^= 0xFFull; ROUND(v) ROUND(v) ROUND(v) ROUND(v)
#define ABSORB(f, ...) word = WORDS(0, f, ##__VA_ARGS__); v3 ^= word; ROUND(v) ROUND(v) v0 ^= word;
#define BY_32(x) ROTATE(x, 32)
#define BY_16(x) ROTATE(x, 16)

#define WORDS(first, f, ...) f(packet, ##__VA_ARGS__)
static uint64_t overlane_tag(const overlane_covered_t* packet, uint64_t k0, uint64_t k1) {
    ONE_STATE(uint64_t)
    return ALL(v);
}
#undef WORDS

#if defined(__x86_64__)
#define FOUR(first, f, ...) f(p[first], ##__VA_ARGS__), f(p[first + 1], ##__VA_ARGS__), \
    f(p[first + 2], ##__VA_ARGS__), f(p[first + 3], ##__VA_ARGS__)

typedef uint64_t overlane_8_t __attribute__((vector_size(64)));
#define WORDS(first, f, ...) (overlane_8_t){FOUR(0, f, ##__VA_ARGS__), FOUR(4, f, ##__VA_ARGS__)}
__attribute__((target("avx512f")))
static void overlane_tags_avx512(const overlane_covered_t* const* p, uint64_t k0, uint64_t k1, uint64_t* tags) {
    ONE_STATE(overlane_8_t)
    v0 = ALL(v);
    memcpy(tags, &v0, sizeof(v0));
}
#undef WORDS
#undef ABSORB
#undef BY_32
#undef BY_16

/* AVX2 has no rotation: whole bytes are moved, the rest takes two shifts. Two states of four lanes are
 * mixed in turns, as one would wait for its own results half of the time. */
typedef uint64_t overlane_4_t __attribute__((vector_size(32)));
typedef uint16_t overlane_16x16_t __attribute__((vector_size(32)));
#define MOVED(x, a, b, c, d) (overlane_4_t)__builtin_shuffle((overlane_16x16_t)(x), (overlane_16x16_t){ \
    a, b, c, d, 4 + a, 4 + b, 4 + c, 4 + d, 8 + a, 8 + b, 8 + c, 8 + d, 12 + a, 12 + b, 12 + c, 12 + d})
#define BY_32(x) MOVED(x, 2, 3, 0, 1)
#define BY_16(x) MOVED(x, 3, 0, 1, 2)
#define BOTH ROUND(v) ROUND(u)
#define WORDS(first, f, ...) (overlane_4_t){FOUR(first, f, ##__VA_ARGS__)}
#define ABSORB(f, ...) \
    word = WORDS(0, f, ##__VA_ARGS__); v3 ^= word; other = WORDS(4, f, ##__VA_ARGS__); u3 ^= other; \
    BOTH BOTH v0 ^= word; u0 ^= other;
__attribute__((target("avx2")))
static void overlane_tags_avx2(const overlane_covered_t* const* p, uint64_t k0, uint64_t k1, uint64_t* tags) {
    overlane_4_t word, other;
    BEGIN(overlane_4_t, v)
    BEGIN(overlane_4_t, u)
    EACH_WORD(ABSORB)
    v3 ^= OVERLANE_LAST_WORD; u3 ^= OVERLANE_LAST_WORD;
    BOTH BOTH
    v0 ^= OVERLANE_LAST_WORD; u0 ^= OVERLANE_LAST_WORD;
    v2 ^= 0xFFull; u2 ^= 0xFFull;
    BOTH BOTH BOTH BOTH
    v0 = ALL(v); u0 = ALL(u);
    memcpy(tags, &v0, sizeof(v0));
    memcpy(tags + 4, &u0, sizeof(u0));
}
#undef WORDS
#undef BOTH
#undef MOVED
#undef FOUR
#endif

#undef ABSORB
#undef BY_32
#undef BY_16
#undef ONE_STATE
#undef ALL
#undef EACH_WORD
#undef ROUND
#undef BEGIN
#undef ROTATE

enum {OVERLANE_SCALAR, OVERLANE_AVX2, OVERLANE_AVX512};

/* The widest way this processor and its kernel know. */
static int overlane_widest(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        return OVERLANE_AVX512;
    if (__builtin_cpu_supports("avx2"))
        return OVERLANE_AVX2;
#endif
    return OVERLANE_SCALAR;
}

/* The tags of packets under one key, `way` being at most overlane_widest(). Fewer than three are faster
 * one by one; a lane without a packet takes another's. */
static void overlane_tags(
    const overlane_covered_t* packets, int count, uint64_t k0, uint64_t k1, uint64_t* tags, int way
) {
    int done = 0;
#if defined(__x86_64__)
    const overlane_covered_t* p[8];
    uint64_t found[8];
    int i, taken;
    for (; way != OVERLANE_SCALAR && count - done >= 3; done += taken) {
        taken = count - done < 8 ? count - done : 8;
        for (i = 0; i < 8; i++)
            p[i] = &packets[i < taken ? done + i : done];
        if (way == OVERLANE_AVX512)
            overlane_tags_avx512(p, k0, k1, found);
        else
            overlane_tags_avx2(p, k0, k1, found);
        memcpy(tags + done, found, (size_t)taken * sizeof(uint64_t));
    }
#endif
    for (; done < count; done++)
        tags[done] = overlane_tag(&packets[done], k0, k1);
}

#endif
