
/* Times of RFC 3339, alone; of 500 years each day, as the C library has it. */

#include "core/parse.c"
#include "core/json.c"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>


static ngx_http_concert_parse_e
parse(const char *text, int64_t *ms)
{
    return ngx_http_concert_parse_time(text, strlen(text), ms);
}


static void
test_days(void **state)
{
    char       text[64];
    time_t     day;
    int64_t    ms;
    struct tm  tm;

    (void) state;

    for (day = 0; day < (time_t) 500 * 366; day++) {
        time_t  s = day * 86400 + day % 86400;

        assert_non_null(gmtime_r(&s, &tm));
        assert_true(strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm));

        if (s == 0) {
            assert_int_equal(parse(text, &ms), NGX_HTTP_CONCERT_PARSE_WRONG);
            continue;
        }

        assert_int_equal(parse(text, &ms), NGX_HTTP_CONCERT_PARSE_OK);
        assert_true(ms == (int64_t) s * 1000);
    }
}


/* of each month the days that there are, and none more */

static void
test_dates(void **state)
{
    int        year, month, day;
    char       text[64];
    int64_t    ms;
    struct tm  tm;

    (void) state;

    for (year = 1971; year < 2410; year++) {
        for (month = 0; month <= 13; month++) {
            for (day = 0; day <= 32; day++) {
                memset(&tm, 0, sizeof(tm));
                tm.tm_year = year - 1900;
                tm.tm_mon = month - 1;
                tm.tm_mday = day;
                (void) timegm(&tm);

                snprintf(text, sizeof(text), "%04d-%02d-%02dT00:00:00Z", year,
                         month, day);
                assert_int_equal(parse(text, &ms) == NGX_HTTP_CONCERT_PARSE_OK,
                                 tm.tm_mon == month - 1 && tm.tm_mday == day);
            }
        }
    }
}


static void
test_zones(void **state)
{
    size_t   i;
    int64_t  ms;

    static const struct {
        const char  *text;
        int64_t      ms;
    } right[] = {
        { "2027-03-01T20:00:00Z",          1803931200000 },
        { "2027-03-01t20:00:00z",          1803931200000 },
        { "2027-03-01T20:00:00+00:00",     1803931200000 },
        { "2027-03-02T05:00:00+09:00",     1803931200000 },
        { "2027-03-01T14:30:00-05:30",     1803931200000 },
        { "2027-03-01T20:00:00.5Z",        1803931200500 },
        { "2027-03-01T20:00:00.0625+00:00", 1803931200062 },
        { "9999-12-31T23:59:59.999Z",      253402300799999 }
    };

    static const char  *wrong[] = {
        "", "Z", "2027-03-01", "2027-03-01T20:00:00", "2027-03-01T20:00Z",
        "2027-03-01 20:00:00Z", "2027-03-01T20:00:00.Z",
        "2027-03-01T20:00:00.5", "2027-03-01T20:00:00+9:00",
        "2027-03-01T20:00:00+0900", "2027-03-01T20:00:00+24:00",
        "2027-03-01T20:00:00+09:60", "2027-03-01T20:00:00 09:00",
        "2027-03-01T20:00:00Z ", "2027-03-01T24:00:00Z",
        "2027-03-01T20:60:00Z", "2027-03-01T20:00:60Z",
        "+027-03-01T20:00:00Z", "2027-3-001T20:00:00Z",
        "2027-03-01T20:00: 0Z", "1970-01-01T00:00:00+09:00"
    };

    (void) state;

    for (i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        assert_int_equal(parse(right[i].text, &ms), NGX_HTTP_CONCERT_PARSE_OK);
        assert_true(ms == right[i].ms);
    }

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(parse(wrong[i], &ms), NGX_HTTP_CONCERT_PARSE_WRONG);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_zones)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
