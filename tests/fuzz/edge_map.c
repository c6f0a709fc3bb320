/* Which blocks of the extensions an input enters, and in what order: one byte per pair of blocks.
 *
 * The compiler puts a call of __sanitizer_cov_trace_pc at the start of each block
 * (-fsanitize-coverage=trace-pc). worker.py loads this library before the extensions, maps `edge_now`
 * for the Python modules it traces, and asks after each input whether there was anything new.
 */
#include <stdint.h>
#include <string.h>

#define EDGES 65536 /* a target enters some thousand pairs: collisions are rare */

uint8_t edge_now[EDGES]; /* how often, by this input */
static uint8_t edge_ever[EDGES]; /* bits: in which of eight ranges of counts, by any input */
static uintptr_t previous;

void __sanitizer_cov_trace_pc(void)
{
    uintptr_t here = (uintptr_t)__builtin_return_address(0) * (uintptr_t)0x9E3779B97F4A7C15u >> 48;
    uint8_t *count = &edge_now[(here ^ previous) & (EDGES - 1)];
    if (*count < 255)
        ++*count;
    previous = here >> 1;
}

void edge_begin(void)
{
    memset(edge_now, 0, sizeof edge_now);
    previous = 0;
}

/* 1, 2, 3, 4-7, 8-15, 16-31, 32-127, more: a loop that runs once more often is no news. */
static uint8_t range_of(uint8_t count)
{
    if (count < 4)
        return (uint8_t)(1 << (count - 1));
    return count < 8 ? 8 : count < 16 ? 16 : count < 32 ? 32 : count < 128 ? 64 : 128;
}

/* Turns counts into ranges. 2: a pair never seen, 1: a range never seen, 0: nothing new. */
int edge_end(void)
{
    const uint64_t *words = (const uint64_t *)edge_now;
    int news = 0;
    for (int word = 0; word < EDGES / 8; word++) {
        if (!words[word])
            continue;
        for (int i = 8 * word; i < 8 * word + 8; i++) {
            if (!edge_now[i])
                continue;
            edge_now[i] = range_of(edge_now[i]);
            if (!(edge_now[i] & ~edge_ever[i]))
                continue;
            if (!edge_ever[i])
                news = 2;
            else if (!news)
                news = 1;
            edge_ever[i] |= edge_now[i];
        }
    }
    return news;
}

int edge_count(void)
{
    int count = 0;
    for (int i = 0; i < EDGES; i++)
        count += edge_ever[i] != 0;
    return count;
}
