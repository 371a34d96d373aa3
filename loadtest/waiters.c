
/*
 * Many users who come to a queue before it opens, and ask again when they were
 * told to:
 *
 *   waiters PORT FIRST COUNT RATE OPENS UNTIL
 *
 * Users FIRST .. FIRST + COUNT - 1 enter at 127.0.0.1:PORT, RATE in a second,
 * and poll after as many seconds as nextPoll says.  OPENS and UNTIL are in ms
 * since 1970: when the queue opens and when this ends.  Prints, as JSON, in how
 * many ms after the opening half, 99 % and all of them had learned their
 * places, how many did in the busiest second, how many of the answers of that
 * time were refusals, and how long these answers took.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define CONNECTIONS  256
#define PIPELINED    16
#define SLOT         10         /* ms */
#define SLOTS        16384      /* nobody is told to stay away for longer */
#define BUFFER       (1 << 16)
#define NOBODY       (-1)


typedef struct {
    int       fd;
    int       users[PIPELINED];     /* that wait for an answer, in order */
    int64_t   sent[PIPELINED];
    unsigned  head, n;
    size_t    len;
    char      buffer[BUFFER];
} connection_t;


static connection_t  connections[CONNECTIONS];
static int           slots[SLOTS];
static int          *after;         /* the next user of the same slot */
static char         *entered, *learned;
static int           first, count, nlearned, nentered, refused;
static int64_t       opens, until;
static int64_t       slot;      /* that is due, or will be next */

/* ms after the opening, and ms that an answer took */
static unsigned      at[120000], took[120000];


static int64_t
now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
fail(const char *what)
{
    perror(what);
    exit(1);
}


static void
schedule(int user, int64_t ms)
{
    int64_t  n;

    n = ms / SLOT;
    n = (n < slot ? slot : n) % SLOTS;

    after[user] = slots[n];
    slots[n] = user;
}


static void
count_ms(unsigned *histogram, int64_t ms)
{
    ms = ms < 0 ? 0 : ms > 119999 ? 119999 : ms;
    histogram[ms]++;
}


static void
ask(connection_t *c, int user)
{
    int   n;
    char  text[256], body[64];

    if (entered[user]) {
        n = snprintf(text, sizeof(text),
                     "GET /api/token/%d HTTP/1.1\r\nHost: x\r\n\r\n",
                     first + user);
    } else {
        n = snprintf(body, sizeof(body), "{\"userId\":%d}", first + user);
        n = snprintf(text, sizeof(text),
                     "POST /api/token HTTP/1.1\r\nHost: x\r\n"
                     "Content-Length: %d\r\n\r\n%s", n, body);
    }

    if (write(c->fd, text, n) != n) {
        fail("write");
    }

    c->users[(c->head + c->n) % PIPELINED] = user;
    c->sent[(c->head + c->n++) % PIPELINED] = now_ms();
}


/* a token, or a problem */

static void
heard(connection_t *c, int status, const char *body)
{
    int          user;
    int64_t      now, sent;
    const char  *p;

    user = c->users[c->head];
    sent = c->sent[c->head];
    c->head = (c->head + 1) % PIPELINED;
    c->n--;
    now = now_ms();

    if (sent >= opens) {
        count_ms(took, now - sent);
    }

    if (status != 200) {
        refused++;
        schedule(user, now + 1000 + rand() % 1000);
        return;
    }

    if (!entered[user]) {
        entered[user] = 1;
        nentered++;
    }

    if (strstr(body, "\"position\":null") == NULL && !learned[user]) {
        learned[user] = 1;
        nlearned++;
        count_ms(at, now - opens);
    }

    p = strstr(body, "\"nextPoll\":");

    if (p && atoi(p + 11)) {
        schedule(user, now + atoi(p + 11) * 1000);
    }
}


static void
read_answers(connection_t *c)
{
    char     *p, *end, *length, saved;
    size_t    size;
    ssize_t   n;

    n = read(c->fd, c->buffer + c->len, BUFFER - c->len - 1);

    if (n <= 0) {
        fail("read");
    }

    c->len += n;
    c->buffer[c->len] = '\0';
    p = c->buffer;

    while ((end = strstr(p, "\r\n\r\n")) != NULL) {
        length = strstr(p, "Content-Length: ");

        if (length == NULL || length > end) {
            fail("no Content-Length");
        }

        size = end + 4 - p + atoi(length + 16);

        if ((size_t) (c->buffer + c->len - p) < size) {
            break;
        }

        saved = p[size];
        p[size] = '\0';
        heard(c, atoi(p + 9), end + 4);
        p[size] = saved;
        p += size;
    }

    c->len -= p - c->buffer;
    memmove(c->buffer, p, c->len);
}


static void
open_connections(int epoll, int port)
{
    int                 i, one;
    struct sockaddr_in  address;
    struct epoll_event  event;

    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    one = 1;

    for (i = 0; i < CONNECTIONS; i++) {
        connections[i].fd = socket(AF_INET, SOCK_STREAM, 0);

        if (connect(connections[i].fd, (struct sockaddr *) &address,
                    sizeof(address)))
        {
            fail("connect");
        }

        setsockopt(connections[i].fd, IPPROTO_TCP, TCP_NODELAY, &one,
                   sizeof(one));
        event.events = EPOLLIN;
        event.data.ptr = &connections[i];
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
    }
}


/* a connection with room, or NULL */

static connection_t *
free_connection(void)
{
    int         i;
    static int  next;

    for (i = 0; i < CONNECTIONS; i++) {
        next = (next + 1) % CONNECTIONS;

        if (connections[next].n < PIPELINED) {
            return &connections[next];
        }
    }

    return NULL;
}


/* all who are due, as long as there is room */

static void
ask_due(int64_t now)
{
    int            user;
    connection_t  *c;

    while (slot <= now / SLOT) {
        user = slots[slot % SLOTS];

        if (user == NOBODY) {
            slot++;
            continue;
        }

        c = free_connection();
        if (c == NULL) {
            return;
        }

        slots[slot % SLOTS] = after[user];
        ask(c, user);
    }
}


static int
percentile(const unsigned *histogram, double part)
{
    int       i;
    uint64_t  all, n;

    for (i = 0, all = 0; i < 120000; i++) {
        all += histogram[i];
    }

    for (i = 0, n = 0; i < 119999; i++) {
        n += histogram[i];

        if (n && n >= all * part) {
            break;
        }
    }

    return i;
}


static unsigned
busiest(void)
{
    int       i;
    unsigned  n, most;

    for (i = 0, n = 0, most = 0; i < 120000; i++) {
        n += at[i] - (i < 1000 ? 0 : at[i - 1000]);
        most = n > most ? n : most;
    }

    return most;
}


int
main(int argc, char **argv)
{
    int                 i, n, epoll, next, rate;
    int64_t             began, now;
    struct epoll_event  events[CONNECTIONS];

    if (argc != 7) {
        fprintf(stderr, "usage: waiters PORT FIRST COUNT RATE OPENS UNTIL\n");
        return 2;
    }

    first = atoi(argv[2]);
    count = atoi(argv[3]);
    rate = atoi(argv[4]);
    opens = atoll(argv[5]);
    until = atoll(argv[6]);

    after = calloc(count, sizeof(int));
    entered = calloc(count, 1);
    learned = calloc(count, 1);
    epoll = epoll_create1(0);

    for (i = 0; i < SLOTS; i++) {
        slots[i] = NOBODY;
    }

    open_connections(epoll, atoi(argv[1]));
    began = now_ms();
    slot = began / SLOT;
    next = 0;

    while ((now = now_ms()) < until && nlearned < count) {
        while (next < count && next < (now - began) * rate / 1000) {
            schedule(next++, now);
        }

        ask_due(now);
        n = epoll_wait(epoll, events, CONNECTIONS, 1);

        for (i = 0; i < n; i++) {
            read_answers(events[i].data.ptr);
        }
    }

    printf("{\"entered\":%d,\"learned\":%d,\"half\":%d,\"most\":%d,"
           "\"all\":%d,\"busiest\":%u,\"refused\":%d,\"p50\":%d,\"p99\":%d,"
           "\"longest\":%d}\n", nentered, nlearned, percentile(at, 0.5),
           percentile(at, 0.99), percentile(at, 1), busiest(), refused,
           percentile(took, 0.5), percentile(took, 0.99), percentile(took, 1));

    return 0;
}
