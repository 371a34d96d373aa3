
#include "core/problem.h"


static const ngx_http_concert_problem_t  ngx_http_concert_problems[] = {

    { "invalid_request", 400, "Invalid request",
      "The request cannot be read; correct it before sending it again." },

    { "identity_missing", 401, "Identity missing",
      "Say who is asking: send the header \"userId: <id>\"." },
    { "identity_invalid", 401, "Identity invalid",
      "The userId header must be given once and be an integer from 1 to "
      "9007199254740991." },

    { "payment_declined", 402, "Payment declined",
      "The payment was declined; pay in another way." },

    { "unauthorized", 401, "Unauthorized",
      "The server asks for a login before this." },

    { "token_not_active", 403, "Token not active",
      "Get a token with POST /api/token and wait until it is ACTIVE." },
    { "identity_mismatch", 403, "Identity mismatch",
      "The userId of the path or body is not the caller's; act only for the "
      "user who is asking." },

    { "forbidden", 403, "Forbidden",
      "The server does not let you in here." },

    { "draw_not_found", 404, "Draw not found",
      "This queue has no draw: the order is that of arrival." },
    { "token_not_found", 404, "Token not found",
      "This user has no token; get one with POST /api/token." },
    { "user_not_found", 404, "User not found",
      "There is no account of this user; check userId." },
    { "order_not_found", 404, "Order not found",
      "There is no such order of this user; check orderId." },
    { "concert_not_found", 404, "Concert not found",
      "There is no such concert; GET /api/concerts lists them." },
    { "schedule_not_found", 404, "Schedule not found",
      "This concert has no such schedule; GET "
      "/api/concerts/schedules/{concertId} lists them." },
    { "seat_not_found", 404, "Seat not found",
      "The schedule does not have all of these seats; name seats of 1 to its "
      "totalSeat." },
    { "reservation_not_found", 404, "Reservation not found",
      "There is no such reservation of this user; GET /api/reservations lists "
      "them." },
    { "payment_not_found", 404, "Payment not found",
      "There is no such payment of this user; check paymentId." },
    { "route_not_found", 404, "Route not found",
      "Nothing is served at this path; check it against the API." },

    { "method_not_allowed", 405, "Method not allowed",
      "Use one of the methods that the Allow header lists." },

    { "request_timeout", 408, "Request timeout",
      "The request did not come in time; send it again." },

    { "seat_taken", 409, "Seat taken",
      "Somebody else has the seats of seatIdList; choose others." },
    { "reservation_expired", 409, "Reservation expired",
      "The hold ran out; reserve seats again." },
    { "reservation_cancelled", 409, "Reservation cancelled",
      "This reservation was cancelled; reserve seats again." },
    { "reservation_paid", 409, "Reservation paid",
      "This reservation is paid; nothing is left to do." },
    { "payment_in_progress", 409, "Payment in progress",
      "A payment of this reservation is under way; look at the reservation "
      "until it has ended." },
    { "not_refundable", 409, "Not refundable",
      "A top-up may be spent; only payments of reservations are given back." },
    { "request_in_progress", 409, "Request in progress",
      "The first request with this Idempotency-Key still runs; send it again "
      "later." },
    { "sale_not_open", 409, "Sale not open",
      "The sale of this schedule has not opened; try again when it has." },
    { "sale_closed", 409, "Sale closed",
      "This schedule has begun; choose another." },
    { "seat_limit", 409, "Seat limit",
      "The user would have more seats of this schedule than one may have; "
      "reserve fewer." },

    { "precondition_failed", 412, "Precondition failed",
      "This is not, or no longer, what If-Match names; get it anew." },

    { "body_too_large", 413, "Body too large",
      "Send a body of at most 65536 bytes." },

    { "media_type_unsupported", 415, "Media type unsupported",
      "Send JSON, with Content-Type: application/json or without one." },

    { "range_not_satisfiable", 416, "Range not satisfiable",
      "There is no such part of this; ask for all of it." },

    { "misdirected_request", 421, "Misdirected request",
      "This connection is not for that host; make another for it." },

    { "amount_mismatch", 422, "Amount mismatch",
      "The amount must equal the totalPrice of the reservation." },
    { "insufficient_balance", 422, "Insufficient balance",
      "The balance is less than the amount; charge it with PUT "
      "/api/balance/charge." },
    { "balance_limit", 422, "Balance limit",
      "A balance cannot be more than 9007199254740991; charge less." },
    { "idempotency_key_reused", 422, "Idempotency key reused",
      "This Idempotency-Key was used with another body; use a new one." },

    { "rate_limited", 429, "Rate limited",
      "Too many requests; wait as Retry-After says." },

    { "refused", 400, "Refused",
      "The server refuses this request; its status says why." },

    { "internal_error", 500, "Internal error",
      "The server failed, and what it did is not known; look it up before "
      "trying again." },

    { "overloaded", 503, "Overloaded",
      "Nothing was done; try again as Retry-After says." },
    { "store_unavailable", 503, "Store unavailable",
      "The database is away or could not do this; nothing was done; try again "
      "as Retry-After says." },
    { "queue_unavailable", 503, "Queue unavailable",
      "The waiting queue is away; nothing was done; try again as Retry-After "
      "says." },
    { "gateway_unavailable", 503, "Gateway unavailable",
      "The payment gateway is away; this request did nothing, though one "
      "before it, with the same key or order, may have; try again as "
      "Retry-After says." },

    { "timeout", 504, "Timeout",
      "No answer came in time and the outcome is not known; look it up before "
      "trying again." },

    { "http_version_not_supported", 505, "HTTP version not supported",
      "Ask with HTTP/1.1 or HTTP/2." },

    { NULL, 0, NULL, NULL }
};


const ngx_http_concert_problem_t *
ngx_http_concert_problem(const u_char *name, size_t len)
{
    const ngx_http_concert_problem_t  *p;

    for (p = ngx_http_concert_problems; p->code; p++) {
        if (ngx_strncmp(p->code, name, len) == 0 && p->code[len] == '\0') {
            return p;
        }
    }

    return NULL;
}


const char *
ngx_http_concert_problem_code(const ngx_str_t *name)
{
    const ngx_http_concert_problem_t  *problem;

    problem = ngx_http_concert_problem(name->data, name->len);

    return problem ? problem->code : "store_unavailable";
}
