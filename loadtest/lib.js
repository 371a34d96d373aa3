// What the load tests share: one function for each route, thresholds, and who
// may be whom. Nothing is downloaded when a test runs.
//
// A function of a route asks, checks the answer and returns its body, or null
// if the answer was wrong; then the caller gives its iteration up. The tags are
// those of the seed's scripts, so that results can be compared.

import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import { Counter, Rate } from 'k6/metrics';

const BASE_URL = __ENV.BASE_URL || 'http://127.0.0.1:8080';
const P95_LIMIT_MS = 50;
const SEAT_TAKEN_LIMIT = 0.003;

// SMOKE=1: correctness only, for a machine that may be slow or busy
export const smoke = __ENV.SMOKE === '1';

const ONLY_200 = http.expectedStatuses(200);
const ONLY_204 = http.expectedStatuses(204);
const MAYBE_CONFLICT = http.expectedStatuses(200, 409);

// Somebody else was faster: no failure, but there must be few.
const seatTaken = new Rate('seat_taken');

// What the clients were told; proof.sql holds the ledger to it.
const wonPaid = new Counter('won_paid');
const wonCharged = new Counter('won_charged');

// What they could not be told: a 504, or no answer.
const unsurePaid = new Counter('unsure_paid');
const unsureCharged = new Counter('unsure_charged');

// Who cannot even connect knows that nothing was done.
const CONNECTION_REFUSED = 1212;


// The two functions that the seed's scripts take from k6-utils.

export function randomIntBetween(min, max) {
    return Math.floor(Math.random() * (max - min + 1)) + min;
}

export function randomItem(items) {
    return items[Math.floor(Math.random() * items.length)];
}


export function vus(otherwise) {
    return Number(__ENV.VUS || otherwise);
}

export function duration(otherwise) {
    return __ENV.DURATION || otherwise;
}


// The share of this virtual user in first..last, as [first, last]: no two
// virtual users share a number, so none disturbs what another one checks.
export function ownShare(first, last, of) {
    const each = Math.floor((last - first + 1) / of);
    const mine = exec.vu.idInTest - 1;

    if (each < 1 || mine >= of) {
        exec.test.abort(`no share of ${first}..${last} for each of ${of}`);
    }

    return [first + mine * each, first + (mine + 1) * each - 1];
}


// That every request succeeds, every check holds, every route was reached and,
// unless this is a smoke test, none is slow.
export function thresholds(names) {
    const all = { checks: ['rate==1'], http_req_failed: ['rate==0'] };

    names.forEach((name) => {
        all[`http_reqs{name:${name}}`] = ['count>0'];

        if (!smoke) {
            all[`http_req_duration{name:${name}}`] = [`p(95)<${P95_LIMIT_MS}`];
        }
    });

    if (!smoke && names.indexOf('reservation') >= 0) {
        all.seat_taken = [`rate<${SEAT_TAKEN_LIMIT}`];
    }

    return all;
}


function request(method, path, name, userId, body, expected) {
    const headers = { userId: String(userId) };

    if (body) {
        headers['Content-Type'] = 'application/json';
    }

    return http.request(method, BASE_URL + path,
                        body ? JSON.stringify(body) : null,
                        { headers: headers, tags: { name: name },
                          responseCallback: expected || ONLY_200 });
}

export function isUnknown(res) {
    return res.status === 504
           || res.status === 0 && res.error_code !== CONNECTION_REFUSED;
}

// The body, or a part of it; null if it has none.
function selected(res, selector) {
    try {
        const found = selector ? res.json(selector) : res.json();

        return found === undefined ? null : found;
    } catch (e) {
        return null;
    }
}

// The answer, if it was right.
function judged(res, name, right, answer) {
    check(null, { [`${name} is 200 and right`]: () => right });

    if (!right) {
        console.warn(`${name}: ${res.status} ${res.error} ${res.body}`);
    }

    return right ? answer : null;
}

// The body, if the status is 200 and the body is as it must be.
function accept(res, name, isRight) {
    const body = res.status === 200 ? selected(res) : null;

    return judged(res, name, body !== null && isRight(body), body);
}

const isFilled = (list) => Array.isArray(list) && list.length > 0;


export function enter(userId) {
    const res = request('POST', '/api/token', 'token', userId,
                        { userId: userId });

    return accept(res, 'token',
                  (t) => t.userId === userId
                         && ['WAITING', 'ACTIVE'].includes(t.status));
}

export function getToken(userId) {
    const res = request('GET', `/api/token/${userId}`, 'get-token', userId);

    return accept(res, 'get-token', (t) => t.userId === userId);
}

export function isActive(userId) {
    const res = request('GET', `/api/token/status/${userId}`, 'status-check',
                        userId);

    return accept(res, 'status-check', (b) => typeof b === 'boolean') === true;
}

export function leave(userId) {
    const res = request('DELETE', `/api/token/${userId}`, 'leave', userId,
                        null, ONLY_204);

    check(res, { 'leave is 204': (r) => r.status === 204 });
}


export function getBalance(userId) {
    const res = request('GET', `/api/balance/${userId}`, 'balance', userId);

    return accept(res, 'balance', (b) => b.userId === userId && b.amount >= 0);
}

export function charge(userId, amount) {
    const res = request('PUT', '/api/balance/charge', 'charge', userId,
                        { userId: userId, amount: amount });
    const body = accept(res, 'charge',
                        (b) => b.userId === userId && b.amount >= amount);

    if (body) {
        wonCharged.add(amount);
    } else if (isUnknown(res)) {
        unsureCharged.add(amount);
    }

    return body;
}


export function getConcerts(userId) {
    const res = request('GET', '/api/concerts', 'get-concerts', userId);

    return accept(res, 'get-concerts', isFilled);
}

export function getSchedules(userId, concertId) {
    const res = request('GET', `/api/concerts/schedules/${concertId}`,
                        'get-schedule', userId);

    return accept(res, 'get-schedule',
                  (list) => isFilled(list)
                            && list[0].concertId === concertId);
}

// One of the free seats. Selectors leave the page as it is: to make a hundred
// objects of it would cost k6 more than the page costs the server, and on the
// same processors.
export function getSeat(userId, scheduleId) {
    const res = request('GET', `/api/concerts/seats/${scheduleId}`, 'get-seat',
                        userId);
    const count = res.status === 200 ? selected(res, '#') : 0;
    const seat = count > 0
                 ? selected(res, `${randomIntBetween(0, count - 1)}`) : null;

    return judged(res, 'get-seat',
                  seat !== null && seat.scheduleId === scheduleId, seat);
}


// Null also if the seat was taken meanwhile.
export function reserve(userId, concertId, scheduleId, seatId) {
    const res = request('POST', '/api/reservations/seats', 'reservation',
                        userId,
                        { userId: userId, concertId: concertId,
                          scheduleId: scheduleId, seatIdList: [seatId] },
                        MAYBE_CONFLICT);
    const problem = res.status === 409 ? selected(res) : null;
    const taken = problem !== null && problem.code === 'seat_taken';

    seatTaken.add(taken);

    if (taken) {
        return null;
    }

    return accept(res, 'reservation', (r) => r.userId === userId
                                             && r.scheduleId === scheduleId
                                             && r.status === 'HELD'
                                             && r.seatIdList.length === 1
                                             && r.seatIdList[0] === seatId);
}

export function pay(userId, reservation) {
    const amount = reservation.totalPrice;
    const res = request('POST', '/api/reservations/payments', 'payment', userId,
                        { userId: userId, amount: amount,
                          reservationId: reservation.reservationId });
    const body = accept(res, 'payment',
                        (p) => p.reservationId === reservation.reservationId
                               && p.status === 'PAID' && p.amount === amount);

    if (body) {
        wonPaid.add(amount);
    } else if (isUnknown(res)) {
        unsurePaid.add(amount);
    }

    return body;
}
