
/*
 * A lane's connection to PostgreSQL.
 *
 * The calls of a batch become units, each one statement: calls of the same
 * function over arrays are one unit, whose arrays have an element a call; any
 * other call is a unit of its own.  A batch of reads ends with one sync; each
 * unit that writes has its own, so it is a transaction, and it has succeeded
 * only when its sync is answered: a result comes before the commit.
 *
 * libpq's own settings do not cover a server that is frozen, so everything
 * here waits in poll() up to the lane's deadline.
 *
 * After a lost connection a unit is run once more: reads change nothing, and
 * the functions that write know their operation ids and do nothing twice.
 * When that fails too, the outcome of a unit that was sent is unknown.
 */

#include "store/postgres.h"
#include "core/parse.h"
#include "core/report.h"

#include <libpq-fe.h>
#include <poll.h>


#define NGX_HTTP_CONCERT_PG_MAX_STATEMENTS  32
#define NGX_HTTP_CONCERT_PG_MAX_SQL         512
#define NGX_HTTP_CONCERT_PG_MAX_MESSAGE     1024

/* by either name, as it was installed */
#define NGX_HTTP_CONCERT_PG_MIGRATE                                          \
    "conf/stack/migrate (Debian's package: concert-migrate)"

/* at least so much time is given to a connection attempt, ms */
#define NGX_HTTP_CONCERT_PG_MIN_CONNECT     100


typedef struct {
    PGconn                        *conn;
    const ngx_http_concert_op_t   *prepared[NGX_HTTP_CONCERT_PG_MAX_STATEMENTS];
    ngx_uint_t                     nprepared;
} ngx_http_concert_pg_t;


typedef enum {
    NGX_HTTP_CONCERT_UNIT_NEW = 0,
    NGX_HTTP_CONCERT_UNIT_SENT,
    NGX_HTTP_CONCERT_UNIT_ANSWERED,     /* but not committed */
    NGX_HTTP_CONCERT_UNIT_DONE,
    NGX_HTTP_CONCERT_UNIT_FAILED,       /* by an ERROR: not done */
    NGX_HTTP_CONCERT_UNIT_LOST          /* with the connection */
} ngx_http_concert_unit_state_e;


typedef struct {
    ngx_http_concert_call_t       **calls;
    ngx_uint_t                      ncalls;
    PGresult                       *res;
    ngx_http_concert_unit_state_e   state;
    unsigned                        repeated:1;
} ngx_http_concert_unit_t;


/* what the server owes an answer to, in the order of sending */

typedef enum {
    NGX_HTTP_CONCERT_PG_PREPARE,
    NGX_HTTP_CONCERT_PG_EXECUTE,
    NGX_HTTP_CONCERT_PG_SYNC
} ngx_http_concert_pg_step_e;


typedef struct {
    ngx_http_concert_pg_step_e      kind;
    ngx_http_concert_unit_t        *unit;
} ngx_http_concert_pg_step_t;


typedef struct {
    ngx_http_concert_lane_t        *lane;
    ngx_http_concert_pg_t          *pg;
    ngx_uint_t                      writes;

    ngx_http_concert_unit_t         units[NGX_HTTP_CONCERT_MAX_BATCH];
    ngx_uint_t                      nunits;

    ngx_http_concert_pg_step_t      steps[3 * NGX_HTTP_CONCERT_MAX_BATCH];
    ngx_uint_t                      nsteps;
    ngx_uint_t                      step;

    ngx_uint_t                      timed_out;
} ngx_http_concert_pg_batch_t;


static void ngx_http_concert_pg_run(ngx_http_concert_lane_t *lane);
static void ngx_http_concert_pg_units(ngx_http_concert_pg_batch_t *batch);
static void ngx_http_concert_pg_unit(ngx_http_concert_unit_t *unit,
    ngx_http_concert_call_t **calls, ngx_uint_t ncalls);
static ngx_uint_t ngx_http_concert_pg_left(
    ngx_http_concert_pg_batch_t *batch);
static ngx_int_t ngx_http_concert_pg_connect(
    ngx_http_concert_pg_batch_t *batch);
static void ngx_http_concert_pg_refused(ngx_http_concert_group_t *group,
    PGconn *conn, ngx_uint_t late);
static ngx_int_t ngx_http_concert_pg_poll_connect(PGconn *conn,
    ngx_msec_t deadline);
static ngx_int_t ngx_http_concert_pg_wait(PGconn *conn, short events,
    ngx_msec_t deadline);
static ngx_int_t ngx_http_concert_pg_setup(ngx_http_concert_pg_batch_t *batch);
static ngx_int_t ngx_http_concert_pg_read_setup(
    ngx_http_concert_pg_batch_t *batch);
static ngx_int_t ngx_http_concert_pg_check_schema(
    ngx_http_concert_pg_batch_t *batch, PGresult *res);
static ngx_int_t ngx_http_concert_pg_check_grants(
    ngx_http_concert_pg_batch_t *batch, PGresult *res);
static void ngx_http_concert_pg_exchange(ngx_http_concert_pg_batch_t *batch);
static ngx_int_t ngx_http_concert_pg_send(ngx_http_concert_pg_batch_t *batch,
    ngx_http_concert_unit_t *unit);
static ngx_int_t ngx_http_concert_pg_prepare(
    ngx_http_concert_pg_batch_t *batch, ngx_http_concert_unit_t *unit);
static void ngx_http_concert_pg_forget(ngx_http_concert_pg_t *pg,
    const ngx_http_concert_op_t *op);
static void ngx_http_concert_pg_sql(char *sql,
    const ngx_http_concert_op_t *op, ngx_uint_t nparams);
static ngx_int_t ngx_http_concert_pg_sync(ngx_http_concert_pg_batch_t *batch);
static ngx_int_t ngx_http_concert_pg_params(ngx_http_concert_unit_t *unit,
    const char **values);
static char *ngx_http_concert_pg_array(ngx_http_concert_unit_t *unit,
    ngx_uint_t param);
static ngx_int_t ngx_http_concert_pg_receive(
    ngx_http_concert_pg_batch_t *batch);
static ngx_int_t ngx_http_concert_pg_result(
    ngx_http_concert_pg_batch_t *batch, PGresult *res);
static void ngx_http_concert_pg_ended(ngx_http_concert_pg_batch_t *batch,
    ngx_http_concert_unit_state_e state);
static ngx_int_t ngx_http_concert_pg_failed(
    ngx_http_concert_pg_batch_t *batch, ngx_http_concert_pg_step_t *step,
    PGresult *res);
static void ngx_http_concert_pg_split(ngx_http_concert_pg_batch_t *batch);
static void ngx_http_concert_pg_finish(ngx_http_concert_pg_batch_t *batch);
static void ngx_http_concert_pg_read(ngx_http_concert_unit_t *unit);
static size_t ngx_http_concert_pg_line(const char *message);
static void ngx_http_concert_pg_disconnect(ngx_http_concert_pg_t *pg);
static void ngx_http_concert_pg_close(ngx_http_concert_lane_t *lane);
static int64_t ngx_http_concert_pg_integer(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);
static ngx_str_t ngx_http_concert_pg_string(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);
static unsigned ngx_http_concert_pg_null(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);


const ngx_http_concert_store_t  ngx_http_concert_postgres = {
    ngx_http_concert_pg_run,
    ngx_http_concert_pg_close,
    1
};


char *
ngx_http_concert_postgres_check(const char *conninfo, ngx_pool_t *pool,
    ngx_uint_t *secret)
{
    char              *error, *copy;
    size_t             len;
    PQconninfoOption  *options, *option;

    error = NULL;
    *secret = 0;
    options = PQconninfoParse(conninfo, &error);

    if (options) {

        /* libpq's mark of what is not to be shown */

        for (option = options; option->keyword; option++) {
            *secret |= (option->val && option->dispchar[0] == '*');
        }

        PQconninfoFree(options);
        return NULL;
    }

    if (error == NULL) {
        return "no memory";
    }

    len = ngx_strlen(error);
    copy = ngx_pnalloc(pool, len + 1);

    if (copy) {
        ngx_cpystrn((u_char *) copy, (u_char *) error, len + 1);

        if (len && copy[len - 1] == LF) {
            copy[len - 1] = '\0';
        }
    }

    PQfreemem(error);

    return copy ? copy : "no memory";
}


static void
ngx_http_concert_pg_run(ngx_http_concert_lane_t *lane)
{
    ngx_uint_t                    attempt;
    ngx_http_concert_pg_batch_t   batch;

    if (lane->connection == NULL) {
        lane->connection = calloc(1, sizeof(ngx_http_concert_pg_t));
        if (lane->connection == NULL) {
            lane->away = 1;
        }
    }

    batch.lane = lane;
    batch.pg = lane->connection;
    batch.writes = ((ngx_http_concert_postgres_conf_t *)
                    lane->group->conf)->writes;
    batch.timed_out = 0;

    ngx_http_concert_pg_units(&batch);

    /* a lost connection is followed by one new attempt */

    for (attempt = 0; attempt < 2 && !lane->away && !batch.timed_out; attempt++)
    {
        if (batch.pg->conn == NULL
            && ngx_http_concert_pg_connect(&batch) != NGX_OK)
        {
            lane->away = 1;
            break;
        }

        /* what another's ERROR stopped is run again; one ends every time */

        do {
            ngx_http_concert_pg_exchange(&batch);
            ngx_http_concert_pg_split(&batch);

        } while (batch.pg->conn && ngx_http_concert_pg_left(&batch));

        if (batch.pg->conn) {
            break;
        }
    }

    if (batch.timed_out) {
        lane->away = 1;
    }

    ngx_http_concert_pg_finish(&batch);
}


/* the calls of a batch are one after the other in memory; so are a unit's */

static void
ngx_http_concert_pg_units(ngx_http_concert_pg_batch_t *batch)
{
    ngx_uint_t                i, k, n;
    ngx_http_concert_call_t  *call, **calls;
    ngx_http_concert_unit_t  *unit;

    calls = batch->lane->calls;
    n = batch->lane->ncalls;

    batch->nunits = 0;

    for (i = 0; i < n; i += unit->ncalls) {
        unit = &batch->units[batch->nunits++];
        ngx_http_concert_pg_unit(unit, &calls[i], 1);

        /* gathers the calls that come later and can be one with this */

        for (k = i + 1; k < n; k++) {
            if (ngx_http_concert_call_alike(calls[i], calls[k])) {
                call = calls[k];
                calls[k] = calls[i + unit->ncalls];
                calls[i + unit->ncalls++] = call;
            }
        }
    }
}


static void
ngx_http_concert_pg_unit(ngx_http_concert_unit_t *unit,
    ngx_http_concert_call_t **calls, ngx_uint_t ncalls)
{
    unit->calls = calls;
    unit->ncalls = ncalls;
    unit->res = NULL;
    unit->state = NGX_HTTP_CONCERT_UNIT_NEW;
    unit->repeated = 0;
}


/* how many units have no answer */

static ngx_uint_t
ngx_http_concert_pg_left(ngx_http_concert_pg_batch_t *batch)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < batch->nunits; i++) {
        n += (batch->units[i].state < NGX_HTTP_CONCERT_UNIT_DONE
              || batch->units[i].state == NGX_HTTP_CONCERT_UNIT_LOST);
    }

    return n;
}


static ngx_int_t
ngx_http_concert_pg_connect(ngx_http_concert_pg_batch_t *batch)
{
    PGconn                            *conn;
    ngx_int_t                          rc;
    ngx_msec_t                         deadline;
    ngx_http_concert_lane_t           *lane;
    ngx_http_concert_postgres_conf_t  *pcf;

    static const char *const  keywords[] = {
        "dbname", "gssencmode", "fallback_application_name", NULL
    };
    const char               *values[] = {
        NULL, "disable", "concert", NULL
    };

    lane = batch->lane;
    pcf = lane->group->conf;
    values[0] = pcf->conninfo;

    deadline = ngx_http_concert_now() + NGX_HTTP_CONCERT_PG_MIN_CONNECT;

    if ((ngx_msec_int_t) (lane->deadline - deadline) > 0) {
        deadline = lane->deadline;
    }

    conn = PQconnectStartParams(keywords, values, 1);

    rc = conn ? ngx_http_concert_pg_poll_connect(conn, deadline) : NGX_ERROR;

    if (rc != NGX_OK) {
        ngx_http_concert_pg_refused(lane->group, conn, rc == NGX_DECLINED);
        PQfinish(conn);
        return NGX_ERROR;
    }

    batch->pg->conn = conn;
    batch->pg->nprepared = 0;

    if (ngx_http_concert_pg_setup(batch) != NGX_OK) {
        ngx_http_concert_pg_disconnect(batch->pg);
        return NGX_ERROR;
    }

    ngx_http_concert_fault_ended(lane->group, NGX_HTTP_CONCERT_FAULT_CONNECT);

    return NGX_OK;
}


/*
 * libpq tells of each address that it tried, and what to do, in lines of their
 * own, but not that it could not read a password file.
 */

static void
ngx_http_concert_pg_refused(ngx_http_concert_group_t *group, PGconn *conn,
    ngx_uint_t late)
{
    u_char      *p, *last, text[NGX_HTTP_CONCERT_PG_MAX_MESSAGE];
    const char  *message;

    p = text;
    last = text + sizeof(text) - sizeof("; ");

    for (message = PQerrorMessage(conn); *message && p < last; message++) {
        if (*message == LF && message[1]) {
            p = ngx_cpymem(p, "; ", 2);

        } else if (*message != LF && *message != '\t') {
            *p++ = *message;
        }
    }

    ngx_http_concert_report(NGX_LOG_ERR, group, NGX_HTTP_CONCERT_FAULT_CONNECT,
        (char *) text, p - text, "cannot connect to PostgreSQL: %s%*s%s",
        late ? "no answer in time: " : "", (size_t) (p - text), text,
        PQconnectionNeedsPassword(conn)
        ? ": write passfile=, the path of a file that has this server's "
          "password, belongs to the user that nginx's workers run as, and has "
          "mode 0600" : "");
}


static ngx_int_t
ngx_http_concert_pg_poll_connect(PGconn *conn, ngx_msec_t deadline)
{
    short      events;
    ngx_int_t  rc;

    if (PQstatus(conn) == CONNECTION_BAD) {
        return NGX_ERROR;
    }

    events = POLLOUT;

    for ( ;; ) {
        rc = ngx_http_concert_pg_wait(conn, events, deadline);
        if (rc != NGX_OK) {
            return rc;
        }

        switch (PQconnectPoll(conn)) {

        case PGRES_POLLING_READING:
            events = POLLIN;
            break;

        case PGRES_POLLING_WRITING:
            events = POLLOUT;
            break;

        case PGRES_POLLING_OK:
            return NGX_OK;

        default:
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_http_concert_pg_wait(PGconn *conn, short events, ngx_msec_t deadline)
{
    int             n;
    struct pollfd   pfd;
    ngx_msec_int_t  left;

    pfd.fd = PQsocket(conn);
    pfd.events = events;

    for ( ;; ) {
        left = (ngx_msec_int_t) (deadline - ngx_http_concert_now());

        if (left <= 0) {
            return NGX_DECLINED;
        }

        n = poll(&pfd, 1, (int) left);

        if (n > 0) {
            return NGX_OK;
        }

        if (n < 0 && errno != EINTR) {
            return NGX_ERROR;
        }
    }
}


/* a new connection: its settings, and whether the schema is ours */

static ngx_int_t
ngx_http_concert_pg_setup(ngx_http_concert_pg_batch_t *batch)
{
    char                               sql[NGX_HTTP_CONCERT_PG_MAX_SQL];
    PGconn                            *conn;
    ngx_http_concert_postgres_conf_t  *pcf;

    conn = batch->pg->conn;
    pcf = batch->lane->group->conf;

    if (PQsetnonblocking(conn, 1) != 0) {
        return NGX_ERROR;
    }

    /*
     * The server gives up before we do, and says so.  Every statement has one
     * good plan, by key: to plan it again each time costs more than to run it,
     * and a plan that was made while the tables were empty must serve when
     * they are full.
     */

    ngx_sprintf((u_char *) sql,
                "set statement_timeout = %M;"
                "set synchronous_commit = on;"
                "set plan_cache_mode = force_generic_plan;"
                "set jit = off;"
                "set enable_seqscan = off;"
                "set enable_hashjoin = off;"
                "set enable_mergejoin = off;"
                "select version, denied "
                "from concert.%s(), concert.denied() as denied%Z",
                pcf->timeout - pcf->timeout / 4,
                pcf->writes ? (pcf->cards ? "warm_cards" : "warm") : "ready");

    if (!PQsendQuery(conn, sql)) {
        return NGX_ERROR;
    }

    if (ngx_http_concert_pg_read_setup(batch) != NGX_OK) {
        return NGX_ERROR;
    }

    return PQenterPipelineMode(conn) ? NGX_OK : NGX_ERROR;
}


/* NGX_OK: the last of the answers was the right schema */

static ngx_int_t
ngx_http_concert_pg_read_setup(ngx_http_concert_pg_batch_t *batch)
{
    PGconn    *conn;
    PGresult  *res;
    ngx_int_t  rc;

    conn = batch->pg->conn;
    rc = NGX_ERROR;

    for ( ;; ) {
        if (PQflush(conn) < 0) {
            return NGX_ERROR;
        }

        if (PQisBusy(conn)) {
            if (ngx_http_concert_pg_wait(conn, POLLIN, batch->lane->deadline)
                != NGX_OK
                || !PQconsumeInput(conn))
            {
                return NGX_ERROR;
            }

            continue;
        }

        res = PQgetResult(conn);
        if (res == NULL) {
            return rc;
        }

        if (PQresultStatus(res) != PGRES_COMMAND_OK) {
            rc = ngx_http_concert_pg_check_schema(batch, res);
        }

        PQclear(res);
    }
}


static ngx_int_t
ngx_http_concert_pg_check_schema(ngx_http_concert_pg_batch_t *batch,
    PGresult *res)
{
    const char                *version, *state, *wrong;
    ngx_http_concert_group_t  *group;

    group = batch->lane->group;
    version = "none";
    wrong = PQresultErrorMessage(res);
    state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1) {
        version = PQgetvalue(res, 0, 0);

        if (ngx_atoi((u_char *) version, ngx_strlen(version))
            == NGX_HTTP_CONCERT_SCHEMA_VERSION)
        {
            return ngx_http_concert_pg_check_grants(batch, res);
        }

    } else if (state && ngx_strcmp(state, "42501") == 0) {

        /* insufficient_privilege */

        return ngx_http_concert_pg_check_grants(batch, res);

    } else if (state && ngx_strcmp(state, "3F000")
               && ngx_strcmp(state, "42883"))
    {
        /* neither invalid_schema_name nor undefined_function */

        ngx_http_concert_report(NGX_LOG_ERR, group,
                                NGX_HTTP_CONCERT_FAULT_CONNECT, wrong,
                                ngx_strlen(wrong),
                                "cannot set up a connection to PostgreSQL: "
                                "%*s", ngx_http_concert_pg_line(wrong), wrong);
        return NGX_ERROR;
    }

    ngx_http_concert_report(NGX_LOG_ERR, group, NGX_HTTP_CONCERT_FAULT_CONNECT,
                            "schema", sizeof("schema") - 1,
                            "the database has schema version %s and this "
                            "module needs %d: bring it up to date with "
                            NGX_HTTP_CONCERT_PG_MIGRATE
                            " \"<conninfo of the schema's owner>\" %*s",
                            version, NGX_HTTP_CONCERT_SCHEMA_VERSION,
                            ngx_http_concert_pg_line(wrong), wrong);

    return NGX_ERROR;
}


/* the second column names an operation that our role may not run */

static ngx_int_t
ngx_http_concert_pg_check_grants(ngx_http_concert_pg_batch_t *batch,
    PGresult *res)
{
    const char  *denied, *user, *wrong;

    user = PQuser(batch->pg->conn);
    wrong = PQresultErrorMessage(res);
    denied = "all operations";

    if (PQresultStatus(res) == PGRES_TUPLES_OK) {
        if (PQgetisnull(res, 0, 1)) {
            return NGX_OK;
        }

        denied = PQgetvalue(res, 0, 1);
    }

    ngx_http_concert_report(NGX_LOG_ERR, batch->lane->group,
                            NGX_HTTP_CONCERT_FAULT_CONNECT, denied,
                            ngx_strlen(denied),
                            "role \"%s\" may not run %s: grant it the "
                            "operations with " NGX_HTTP_CONCERT_PG_MIGRATE
                            " \"<conninfo of the schema's owner>\" %s %*s",
                            user, denied, user,
                            ngx_http_concert_pg_line(wrong), wrong);

    return NGX_ERROR;
}


/* sends the units that have no answer, and takes the answers */

static void
ngx_http_concert_pg_exchange(ngx_http_concert_pg_batch_t *batch)
{
    ngx_int_t                 rc;
    ngx_uint_t                i;
    const char               *wrong;
    ngx_http_concert_unit_t  *unit;

    batch->nsteps = 0;
    batch->step = 0;
    rc = NGX_OK;

    for (i = 0; i < batch->nunits && rc == NGX_OK; i++) {
        unit = &batch->units[i];

        if (unit->state == NGX_HTTP_CONCERT_UNIT_DONE
            || unit->state == NGX_HTTP_CONCERT_UNIT_FAILED)
        {
            continue;
        }

        rc = ngx_http_concert_pg_send(batch, unit);

        if (rc == NGX_OK && batch->writes) {
            rc = ngx_http_concert_pg_sync(batch);
        }
    }

    if (rc == NGX_OK && (!batch->writes || batch->nsteps == 0)) {
        rc = ngx_http_concert_pg_sync(batch);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_concert_pg_receive(batch);
    }

    if (rc == NGX_OK) {
        ngx_http_concert_fault_ended(batch->lane->group,
                                     NGX_HTTP_CONCERT_FAULT_LOST);
        return;
    }

    if (rc == NGX_DECLINED) {
        batch->timed_out = 1;
    }

    wrong = batch->timed_out ? "no answer in time"
                             : PQerrorMessage(batch->pg->conn);

    ngx_http_concert_report(NGX_LOG_ERR, batch->lane->group,
                            NGX_HTTP_CONCERT_FAULT_LOST, wrong,
                            ngx_strlen(wrong),
                            "lost the connection to PostgreSQL: %*s",
                            ngx_http_concert_pg_line(wrong), wrong);

    for (i = 0; i < batch->nunits; i++) {
        unit = &batch->units[i];

        if (unit->state == NGX_HTTP_CONCERT_UNIT_SENT
            || unit->state == NGX_HTTP_CONCERT_UNIT_ANSWERED)
        {
            unit->state = NGX_HTTP_CONCERT_UNIT_LOST;
            PQclear(unit->res);
            unit->res = NULL;
        }
    }

    ngx_http_concert_pg_disconnect(batch->pg);
}


static ngx_int_t
ngx_http_concert_pg_send(ngx_http_concert_pg_batch_t *batch,
    ngx_http_concert_unit_t *unit)
{
    const char                   *values[NGX_HTTP_CONCERT_MAX_PARAMS];
    ngx_http_concert_call_t      *call;
    ngx_http_concert_pg_step_t   *step;

    if (ngx_http_concert_pg_prepare(batch, unit) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_concert_pg_params(unit, values) != NGX_OK) {
        unit->state = NGX_HTTP_CONCERT_UNIT_FAILED;
        return NGX_OK;
    }

    call = unit->calls[0];

    if (!PQsendQueryPrepared(batch->pg->conn, call->op->name,
                             (int) call->nparams, values, NULL, NULL, 1))
    {
        return NGX_ERROR;
    }

    unit->state = NGX_HTTP_CONCERT_UNIT_SENT;

    step = &batch->steps[batch->nsteps++];
    step->kind = NGX_HTTP_CONCERT_PG_EXECUTE;
    step->unit = unit;

    return NGX_OK;
}


/* a statement is prepared where it is first needed, in the same pipeline */

static ngx_int_t
ngx_http_concert_pg_prepare(ngx_http_concert_pg_batch_t *batch,
    ngx_http_concert_unit_t *unit)
{
    char                          sql[NGX_HTTP_CONCERT_PG_MAX_SQL];
    ngx_uint_t                    i;
    ngx_http_concert_pg_t        *pg;
    ngx_http_concert_pg_step_t   *step;
    const ngx_http_concert_op_t  *op;

    pg = batch->pg;
    op = unit->calls[0]->op;

    for (i = 0; i < pg->nprepared; i++) {
        if (pg->prepared[i] == op) {
            return NGX_OK;
        }
    }

    if (pg->nprepared == NGX_HTTP_CONCERT_PG_MAX_STATEMENTS) {
        return NGX_ERROR;
    }

    ngx_http_concert_pg_sql(sql, op, unit->calls[0]->nparams);

    if (!PQsendPrepare(pg->conn, op->name, sql, 0, NULL)) {
        return NGX_ERROR;
    }

    pg->prepared[pg->nprepared++] = op;

    step = &batch->steps[batch->nsteps++];
    step->kind = NGX_HTTP_CONCERT_PG_PREPARE;
    step->unit = unit;

    return NGX_OK;
}


/* a statement that could not be prepared */

static void
ngx_http_concert_pg_forget(ngx_http_concert_pg_t *pg,
    const ngx_http_concert_op_t *op)
{
    ngx_uint_t  i;

    for (i = 0; i < pg->nprepared; i++) {
        if (pg->prepared[i] == op) {
            pg->prepared[i] = pg->prepared[--pg->nprepared];
            return;
        }
    }
}


/* select * from concert.name($1,$2) */

static void
ngx_http_concert_pg_sql(char *sql, const ngx_http_concert_op_t *op,
    ngx_uint_t nparams)
{
    u_char      *p;
    ngx_uint_t   i;

    p = ngx_sprintf((u_char *) sql, "select * from concert.%s(", op->name);

    for (i = 1; i <= nparams; i++) {
        p = ngx_sprintf(p, i > 1 ? ",$%ui" : "$%ui", i);
    }

    ngx_sprintf(p, ")%Z");
}


static ngx_int_t
ngx_http_concert_pg_sync(ngx_http_concert_pg_batch_t *batch)
{
    ngx_http_concert_pg_step_t  *step;

    if (!PQpipelineSync(batch->pg->conn)) {
        return NGX_ERROR;
    }

    step = &batch->steps[batch->nsteps++];
    step->kind = NGX_HTTP_CONCERT_PG_SYNC;
    step->unit = NULL;

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_pg_params(ngx_http_concert_unit_t *unit, const char **values)
{
    ngx_uint_t                i;
    const char               *kinds;
    ngx_http_concert_call_t  *call;

    call = unit->calls[0];
    kinds = call->op->params;

    for (i = 0; i < call->nparams; i++) {

        if (kinds == NULL || kinds[i] == 's') {
            values[i] = (char *) call->params[i].data;
            continue;
        }

        values[i] = ngx_http_concert_pg_array(unit, i);
        if (values[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* {value of the first call,value of the second}, in the first call's memory */

static char *
ngx_http_concert_pg_array(ngx_http_concert_unit_t *unit, ngx_uint_t param)
{
    size_t       len;
    u_char      *array, *p;
    ngx_uint_t   i;
    ngx_str_t   *value;

    len = sizeof("{}");

    for (i = 0; i < unit->ncalls; i++) {
        value = &unit->calls[i]->params[param];
        len += 1 + (value->data ? value->len : sizeof("NULL") - 1);
    }

    array = ngx_pnalloc(unit->calls[0]->pool, len);
    if (array == NULL) {
        return NULL;
    }

    p = array;

    for (i = 0; i < unit->ncalls; i++) {
        value = &unit->calls[i]->params[param];
        *p++ = i ? ',' : '{';
        p = value->data ? ngx_cpymem(p, value->data, value->len)
                        : ngx_cpymem(p, "NULL", sizeof("NULL") - 1);
    }

    *p++ = '}';
    *p = '\0';

    return (char *) array;
}


/*
 * Takes the answers to all steps.  NGX_DECLINED: the deadline has passed;
 * NGX_ERROR: the connection is lost.
 */

static ngx_int_t
ngx_http_concert_pg_receive(ngx_http_concert_pg_batch_t *batch)
{
    int        flush;
    PGconn    *conn;
    PGresult  *res;
    ngx_int_t  rc;

    conn = batch->pg->conn;

    while (batch->step < batch->nsteps) {
        flush = PQflush(conn);
        if (flush < 0) {
            return NGX_ERROR;
        }

        if (!PQisBusy(conn)) {
            res = PQgetResult(conn);

            if (PQstatus(conn) == CONNECTION_BAD) {
                PQclear(res);
                return NGX_ERROR;
            }

            if (ngx_http_concert_pg_result(batch, res) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        rc = ngx_http_concert_pg_wait(conn, flush ? POLLIN|POLLOUT : POLLIN,
                                      batch->lane->deadline);
        if (rc != NGX_OK) {
            return rc;
        }

        if (!PQconsumeInput(conn)) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * A statement's results end with a NULL, a sync is one result.  NGX_ERROR: the
 * server ends the connection.
 */

static ngx_int_t
ngx_http_concert_pg_result(ngx_http_concert_pg_batch_t *batch, PGresult *res)
{
    ngx_int_t                    rc;
    ngx_http_concert_pg_step_t  *step;

    step = &batch->steps[batch->step];

    if (res == NULL) {
        batch->step += (step->kind != NGX_HTTP_CONCERT_PG_SYNC);
        return NGX_OK;
    }

    rc = NGX_OK;

    switch (PQresultStatus(res)) {

    case PGRES_PIPELINE_SYNC:
        ngx_http_concert_pg_ended(batch, NGX_HTTP_CONCERT_UNIT_DONE);
        batch->step++;
        break;

    case PGRES_TUPLES_OK:
        step->unit->res = res;
        step->unit->state = NGX_HTTP_CONCERT_UNIT_ANSWERED;
        return NGX_OK;

    case PGRES_COMMAND_OK:
        break;

    case PGRES_PIPELINE_ABORTED:

        if (step->kind == NGX_HTTP_CONCERT_PG_PREPARE) {
            ngx_http_concert_pg_forget(batch->pg, step->unit->calls[0]->op);
        }

        if (step->unit->state == NGX_HTTP_CONCERT_UNIT_SENT) {
            step->unit->state = NGX_HTTP_CONCERT_UNIT_NEW;
        }

        break;

    default:

        if (step->kind == NGX_HTTP_CONCERT_PG_PREPARE) {
            ngx_http_concert_pg_forget(batch->pg, step->unit->calls[0]->op);
        }

        rc = ngx_http_concert_pg_failed(batch, step, res);
    }

    PQclear(res);

    return rc;
}


/* the transaction of the units that were answered has ended */

static void
ngx_http_concert_pg_ended(ngx_http_concert_pg_batch_t *batch,
    ngx_http_concert_unit_state_e state)
{
    ngx_uint_t                i;
    ngx_http_concert_unit_t  *unit;

    for (i = 0; i < batch->nunits; i++) {
        unit = &batch->units[i];

        if (unit->state != NGX_HTTP_CONCERT_UNIT_ANSWERED) {
            continue;
        }

        unit->state = state;

        if (state != NGX_HTTP_CONCERT_UNIT_DONE) {
            PQclear(unit->res);
            unit->res = NULL;
        }
    }
}


/*
 * The server said ERROR, to a statement or to the commit.  A conflict with
 * another transaction, or with the first run of the same operation, is worth
 * a repeat.
 */

static ngx_int_t
ngx_http_concert_pg_failed(ngx_http_concert_pg_batch_t *batch,
    ngx_http_concert_pg_step_t *step, PGresult *res)
{
    const char               *state, *wrong;
    ngx_uint_t                again, level;
    ngx_http_concert_unit_t  *unit;

    state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    /* class 57P: the server goes down */

    if (state == NULL || ngx_strncmp(state, "57P", 3) == 0) {
        return NGX_ERROR;
    }

    unit = step->unit ? step->unit : step[-1].unit;
    again = 0;

    if (unit == NULL) {
        return NGX_ERROR;
    }

    /* class 40: transaction rollback; 23505: unique_violation */

    if (!unit->repeated
        && (ngx_strncmp(state, "40", 2) == 0
            || ngx_strcmp(state, "23505") == 0))
    {
        again = 1;
    }

    level = again ? NGX_LOG_WARN : NGX_LOG_ERR;
    wrong = PQresultErrorMessage(res);

    ngx_http_concert_report(level, unit->calls[0]->op,
                            NGX_HTTP_CONCERT_FAULT_RUN, wrong,
                            ngx_http_concert_pg_line(wrong),
                            "PostgreSQL cannot run \"%s\" for %ui request%s"
                            "%s: %*s", unit->calls[0]->op->name, unit->ncalls,
                            unit->ncalls == 1 ? "" : "s",
                            again ? ", repeating" : "",
                            ngx_http_concert_pg_line(wrong), wrong);

    ngx_http_concert_pg_ended(batch, NGX_HTTP_CONCERT_UNIT_NEW);

    unit->repeated = 1;
    unit->state = again ? NGX_HTTP_CONCERT_UNIT_NEW
                        : NGX_HTTP_CONCERT_UNIT_FAILED;

    return NGX_OK;
}


/* calls that failed together are run one by one */

static void
ngx_http_concert_pg_split(ngx_http_concert_pg_batch_t *batch)
{
    ngx_uint_t                i, k, n;
    ngx_http_concert_unit_t  *unit;

    n = batch->nunits;

    for (i = 0; i < n; i++) {
        unit = &batch->units[i];

        if (unit->state != NGX_HTTP_CONCERT_UNIT_FAILED || unit->ncalls == 1) {
            continue;
        }

        for (k = 1; k < unit->ncalls; k++) {
            ngx_http_concert_pg_unit(&batch->units[batch->nunits++],
                                     &unit->calls[k], 1);
        }

        ngx_http_concert_pg_unit(unit, unit->calls, 1);
    }
}


/* tells every call how it ended */

static void
ngx_http_concert_pg_finish(ngx_http_concert_pg_batch_t *batch)
{
    ngx_uint_t                   i, k;
    ngx_http_concert_unit_t     *unit;
    ngx_http_concert_outcome_e   outcome;

    for (i = 0; i < batch->nunits; i++) {
        unit = &batch->units[i];

        switch (unit->state) {

        case NGX_HTTP_CONCERT_UNIT_DONE:
        case NGX_HTTP_CONCERT_UNIT_FAILED:
            outcome = NGX_HTTP_CONCERT_ERROR;
            break;

        case NGX_HTTP_CONCERT_UNIT_LOST:
            outcome = (batch->writes || batch->timed_out)
                      ? NGX_HTTP_CONCERT_UNKNOWN : NGX_HTTP_CONCERT_AWAY;
            break;

        default:
            outcome = NGX_HTTP_CONCERT_AWAY;
        }

        for (k = 0; k < unit->ncalls; k++) {
            unit->calls[k]->outcome = outcome;
        }

        if (unit->state == NGX_HTTP_CONCERT_UNIT_DONE) {
            ngx_http_concert_fault_ended(unit->calls[0]->op,
                                         NGX_HTTP_CONCERT_FAULT_RUN);
            ngx_http_concert_pg_read(unit);
        }
    }
}


/*
 * A function over arrays answers with one row a call, which begins with the
 * number of the call.
 */

static void
ngx_http_concert_pg_read(ngx_http_concert_unit_t *unit)
{
    int64_t                     k;
    ngx_uint_t                  i, rows;
    ngx_http_concert_call_t    *call;
    ngx_http_concert_result_t   result;

    result.data = unit->res;
    result.integer = ngx_http_concert_pg_integer;
    result.string = ngx_http_concert_pg_string;
    result.null = ngx_http_concert_pg_null;
    result.first = 0;
    result.rows = PQntuples(unit->res);

    /* a plain function, or one over arrays that has nothing to say */

    call = unit->calls[0];
    rows = call->op->params ? result.rows : 0;

    if (rows == 0) {
        call->outcome = NGX_HTTP_CONCERT_OK;
        call->read(call, &result);
    }

    result.rows = 1;

    for (i = 0; i < rows; i++) {
        result.first = i;
        k = ngx_http_concert_pg_integer(&result, 0, 0);

        if (k >= 1 && k <= (int64_t) unit->ncalls) {
            call = unit->calls[k - 1];
            call->outcome = NGX_HTTP_CONCERT_OK;
            call->read(call, &result);
        }
    }

    PQclear(unit->res);
    unit->res = NULL;
}


/* libpq's messages end with a line feed and may have more lines */

static size_t
ngx_http_concert_pg_line(const char *message)
{
    return strcspn(message, "\n");
}


static void
ngx_http_concert_pg_disconnect(ngx_http_concert_pg_t *pg)
{
    PQfinish(pg->conn);

    pg->conn = NULL;
    pg->nprepared = 0;
}


static void
ngx_http_concert_pg_close(ngx_http_concert_lane_t *lane)
{
    ngx_http_concert_pg_t  *pg;

    pg = lane->connection;

    if (pg) {
        ngx_http_concert_pg_disconnect(pg);
        free(pg);
        lane->connection = NULL;
    }
}


/* integers come in binary: 2, 4 or 8 bytes in network order */

static int64_t
ngx_http_concert_pg_integer(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    row += res->first;

    return ngx_http_concert_parse_binary(
                           PQgetvalue(res->data, (int) row, (int) column),
                           PQgetlength(res->data, (int) row, (int) column));
}


static ngx_str_t
ngx_http_concert_pg_string(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    ngx_str_t  value;

    row += res->first;

    if (PQgetisnull(res->data, (int) row, (int) column)) {
        ngx_str_null(&value);
        return value;
    }

    value.len = PQgetlength(res->data, (int) row, (int) column);
    value.data = (u_char *) PQgetvalue(res->data, (int) row, (int) column);

    return value;
}


static unsigned
ngx_http_concert_pg_null(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    return PQgetisnull(res->data, (int) (row + res->first), (int) column);
}
