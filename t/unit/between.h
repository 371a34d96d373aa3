/*
 * cmocka's assert_in_range() is deprecated from its version 2 on, and what is
 * to be used instead is not in version 1.
 */

#ifndef T_UNIT_BETWEEN_H
#define T_UNIT_BETWEEN_H

#include <inttypes.h>


#define assert_between(value, low, high)                                      \
    do {                                                                      \
        intmax_t  is_ = (value), low_ = (low), high_ = (high);                \
                                                                              \
        if (is_ < low_ || is_ > high_) {                                      \
            fail_msg("%s is %jd, not from %jd to %jd",                        \
                     #value, is_, low_, high_);                               \
        }                                                                     \
    } while (0)


#endif
