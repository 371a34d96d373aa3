
/*
 * Many users who enter the queue and watch it by a stream of events each:
 *
 *   streams PORT FIRST COUNT TTL
 *
 * Users FIRST .. FIRST + COUNT - 1 enter at 127.0.0.1:PORT and open a stream.
 * Says "open N" when all are told something, then waits until all are told to
 * be in, and prints, as JSON, how long after that was true in Redis (which is
 * TTL ms before the token ends) they heard of it, in ms.
 */

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define MAX_OPENING  200       /* at once */
#define BUFFER       1024
#define PATIENCE     120       /* s, without any news */


typedef enum { ENTERING, OPENING, WATCHING, ACTIVE, LOST } state_e;


typedef struct {
    int       fd;
    int       user;
    state_e   state;
    size_t    len;
    char      buffer[BUFFER];
} stream_t;


static int        epoll_fd, port, first, count, opening, watching, ended;
static int64_t    ttl;
static stream_t  *streams;
static int64_t   *delays;
static int        ndelays;


static int64_t
now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
end(stream_t *s, state_e state)
{
    opening -= s->state < WATCHING;
    s->state = state;
    ended++;
    close(s->fd);
}


static void
say(stream_t *s, const char *text, int len)
{
    if (write(s->fd, text, len) != len) {
        end(s, LOST);
    }
}


static void
enter(stream_t *s)
{
    int                 n;
    char                body[64], text[256];
    struct sockaddr_in  sin;
    struct epoll_event  ee;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    opening++;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);

    if (s->fd < 0 || connect(s->fd, (struct sockaddr *) &sin, sizeof(sin))) {
        perror("streams: cannot connect");
        exit(1);
    }

    ee.events = EPOLLIN;
    ee.data.ptr = s;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &ee);

    n = sprintf(body, "{\"userId\":%d}", s->user);
    n = sprintf(text, "POST /api/token HTTP/1.1\r\nHost: x\r\n"
                      "Content-Length: %d\r\n\r\n%s", n, body);
    say(s, text, n);
}


/* how long ago the token became active that ends at this time */

static int64_t
age(const char *expires)
{
    int        ms;
    struct tm  tm;

    memset(&tm, 0, sizeof(tm));

    if (sscanf(expires, "%d-%d-%dT%d:%d:%d.%d", &tm.tm_year, &tm.tm_mon,
               &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms)
        != 7)
    {
        return -1;
    }

    tm.tm_year -= 1900;
    tm.tm_mon--;

    return now_ms() - ((int64_t) timegm(&tm) * 1000 + ms - ttl);
}


static void
understand(stream_t *s)
{
    int    n;
    char   text[128], *p;

    if (s->state == ENTERING && strstr(s->buffer, "\"nextPoll\"")) {
        s->state = OPENING;
        s->len = 0;
        n = sprintf(text, "GET /api/token/events/%d HTTP/1.1\r\nHost: x\r\n"
                          "\r\n", s->user);
        say(s, text, n);
        return;
    }

    if (s->state == OPENING && strstr(s->buffer, "\nevent: ")) {
        s->state = WATCHING;
        opening--;
        watching++;
    }

    if (s->state != WATCHING) {
        return;
    }

    p = strstr(s->buffer, "event: active");
    p = p ? strstr(p, "\"expiresAt\":\"") : NULL;

    if (p && strchr(p + 13, '"')) {
        delays[ndelays++] = age(p + 13);
        end(s, ACTIVE);
        return;
    }

    if (p == NULL && strstr(s->buffer, "event: active") == NULL) {
        s->len = 0;
    }
}


static void
hear(stream_t *s)
{
    ssize_t  n;

    if (s->len >= BUFFER - 1) {
        s->len = 0;
    }

    n = read(s->fd, s->buffer + s->len, BUFFER - 1 - s->len);

    if (n <= 0) {
        end(s, LOST);
        return;
    }

    s->len += n;
    s->buffer[s->len] = '\0';
    understand(s);
}


static int
compare(const void *one, const void *two)
{
    int64_t  a = *(const int64_t *) one, b = *(const int64_t *) two;

    return (a > b) - (a < b);
}


static void
report(void)
{
    qsort(delays, ndelays, sizeof(delays[0]), compare);

    printf("{\"streams\":%d,\"active\":%d,\"lost\":%d,\"p50\":%lld,"
           "\"p99\":%lld,\"max\":%lld}\n",
           count, ndelays, ended - ndelays,
           ndelays ? (long long) delays[ndelays / 2] : -1,
           ndelays ? (long long) delays[ndelays - 1 - ndelays / 100] : -1,
           ndelays ? (long long) delays[ndelays - 1] : -1);
}


int
main(int argc, char **argv)
{
    int                 i, n, entered, said;
    struct epoll_event  events[256];

    if (argc != 5) {
        fprintf(stderr, "usage: streams PORT FIRST COUNT TTL\n");
        return 1;
    }

    port = atoi(argv[1]);
    first = atoi(argv[2]);
    count = atoi(argv[3]);
    ttl = atoll(argv[4]);

    streams = calloc(count, sizeof(stream_t));
    delays = calloc(count, sizeof(delays[0]));
    epoll_fd = epoll_create1(0);
    entered = said = 0;

    while (ended < count) {

        while (entered < count && opening < MAX_OPENING) {
            streams[entered].user = first + entered;
            enter(&streams[entered++]);
        }

        if (!said && entered == count && opening == 0) {
            printf("open %d\n", watching);
            fflush(stdout);
            said = 1;
        }

        n = epoll_wait(epoll_fd, events, 256, PATIENCE * 1000);

        if (n == 0 || (n < 0 && errno != EINTR)) {
            fprintf(stderr, "streams: no news\n");
            break;
        }

        for (i = 0; i < n; i++) {
            hear(events[i].data.ptr);
        }
    }

    report();

    return ndelays == count ? 0 : 1;
}
