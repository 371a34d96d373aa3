
/*
 * Idempotency-Key and Content-Type, against regular expressions: the whole of a
 * header's value is one or the other.
 */

#include "core/json.c"
#include "core/parse.c"
#include "fuzz.h"

#include <regex.h>


/* quotes may be part of a key, too */
#define KEY   "^([!-~]+)$"
#define TYPE  "^application/(json|[^;]+[+]json) *(;.*)?$"


static regex_t  key_pattern;
static regex_t  type_pattern;


int LLVMFuzzerInitialize(int *argc, char ***argv);


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    promise(regcomp(&key_pattern, KEY, REG_EXTENDED) == 0);
    promise(regcomp(&type_pattern, TYPE, REG_EXTENDED|REG_ICASE) == 0);

    return 0;
}


static void
check_key(const char *value, const char *text, size_t size)
{
    size_t  len, start, expected;

    start = 0;
    len = ngx_http_concert_parse_key(value, size, &start);

    expected = regexec(&key_pattern, text, 0, NULL, 0) == 0 ? size : 0;

    if (expected > 1 && text[0] == '"' && text[size - 1] == '"') {
        expected -= 2;
        promise(len == 0 || start == 1);

    } else {
        promise(len == 0 || start == 0);
    }

    promise(len == (expected <= 255 ? expected : 0));
}


static void
check_type(const char *value, const char *text, size_t size)
{
    promise(ngx_http_concert_parse_json_type(value, size)
            == (regexec(&type_pattern, text, 0, NULL, 0) == 0));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char    *value, *text;
    size_t   i;

    value = block_of(data, size);

    text = malloc(size + 1);
    promise(text != NULL);
    memcpy(text, value, size);
    text[size] = '\0';

    /* nginx lets no NUL and no line feed into a header's value */

    for (i = 0; i < size; i++) {
        if (text[i] == '\0' || text[i] == '\n') {
            text[i] = ' ';
            value[i] = ' ';
        }
    }

    check_key(value, text, size);
    check_type(value, text, size);

    free(value);
    free(text);

    return 0;
}
