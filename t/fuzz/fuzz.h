
/*
 * What the fuzz targets share.  A target is one program with what it tests
 * included in it, as in t/unit; libFuzzer calls it with bytes, and it aborts
 * when a promise is broken.  `make fuzz` runs them all.
 */


#ifndef FUZZ_H_INCLUDED
#define FUZZ_H_INCLUDED


#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define promise(condition)                                                   \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,       \
                    #condition);                                             \
            abort();                                                         \
        }                                                                    \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/*
 * A block of exactly these bytes, so that reading one more is noticed.  The
 * caller frees it.
 */

static inline char *
block_of(const uint8_t *data, size_t size)
{
    char  *p;

    p = malloc(size ? size : 1);
    promise(p != NULL);

    if (size) {
        memcpy(p, data, size);
    }

    return p;
}


/* how many bytes the first character of UTF-8 has (RFC 3629), 0 if it is none */

static inline size_t
utf8_length(const uint8_t *p, size_t size)
{
    size_t  i, n;

    if (p[0] < 0x80) {
        return 1;
    }

    n = (p[0] >= 0xf0) ? 4 : (p[0] >= 0xe0) ? 3 : 2;

    if (p[0] < 0xc2 || p[0] > 0xf4 || size < n
        || (p[0] == 0xe0 && p[1] < 0xa0)        /* more bytes than needed */
        || (p[0] == 0xed && p[1] > 0x9f)        /* a surrogate */
        || (p[0] == 0xf0 && p[1] < 0x90)
        || (p[0] == 0xf4 && p[1] > 0x8f))       /* above U+10FFFF */
    {
        return 0;
    }

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


static inline int
is_utf8(const uint8_t *p, size_t size)
{
    size_t  n;

    for ( /* void */ ; size; p += n, size -= n) {
        n = utf8_length(p, size);

        if (n == 0) {
            return 0;
        }
    }

    return 1;
}


/* what ngx_http_concert_parse_integer() must say, written another way */

static inline int
reference_integer(const void *data, size_t size, int64_t min, int64_t max,
    int64_t *value)
{
    char       text[32], again[32];
    long long  n;

    if (size == 0 || size > 19) {
        return -1;
    }

    memcpy(text, data, size);
    text[size] = '\0';

    n = strtoll(text, NULL, 10);
    snprintf(again, sizeof(again), "%lld", n);

    /* the only way to write this number */

    if (strlen(again) != size || memcmp(text, again, size) != 0
        || n < min || n > max || n < 0)
    {
        return -1;
    }

    *value = n;

    return 0;
}


#endif /* FUZZ_H_INCLUDED */
