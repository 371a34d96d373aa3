// Steady payments by card, and the other routes beside them, while the payment
// gateway hangs, answers 500 and comes back (drills/gateway.sh breaks it and
// mends it).
//
// CARD_RATE payments and OTHER_RATE rounds of the other routes a second, whether
// those before were answered or not, for BEFORE, OUTAGE and AFTERWARDS seconds. A
// call's duration and status are in call_duration, for the runner, who reads each
// from the CSV: errors are no failures of the script. What clients were told, and
// what they could not be told, is counted for faults.sql. Needs GATEWAY_URL, the
// stand-in's, whose window gives a buyer the paymentKey.

import http from 'k6/http';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import { isUnknown, randomItem, smoke } from './lib.js';

const BASE_URL = __ENV.BASE_URL;
const GATEWAY_URL = __ENV.GATEWAY_URL;
const CARDS = Number(__ENV.CARD_RATE || 15);
const OTHERS = Number(__ENV.OTHER_RATE || 20);
const BEFORE = Number(__ENV.BEFORE || 12);
const SECONDS = BEFORE + Number(__ENV.OUTAGE || 30)
                + Number(__ENV.AFTERWARDS || 15);
const SEATS = Number(__ENV.SEATS || 50000);
const SCHEDULES = 9;            // of the demo, three of a concert
const CANCEL_EVERY = 4;         // of the rounds, those that give their seat back

const BUYERS = 4001, HOLDERS = 8001, EACH = 4000, LOOKERS = 50;

const duration = new Trend('call_duration', true);
const paid = new Counter('cards_paid');
const told = {}, unsure = {};

['charge', 'payment', 'reservation', 'cancel'].forEach((name) => {
    told[name] = new Counter(`told_${name}`);
    unsure[name] = new Counter(`unsure_${name}`);
});

// a payment is one, however it is paid
const COUNTED_AS = { card: 'payment' };

function steady(name, rate) {
    return { executor: 'constant-arrival-rate', exec: name, rate: rate,
             timeUnit: '1s', duration: `${SECONDS}s`,
             preAllocatedVUs: 4 * rate, maxVUs: 12 * rate,
             gracefulStop: '15s' };
}

export const options = {
    setupTimeout: '60s',
    scenarios: { cards: steady('cards', CARDS), others: steady('others', OTHERS) },
    thresholds: smoke ? {} : { dropped_iterations: ['count==0'] }
};

http.setResponseCallback(null);


// 202 is of a payment that is not known yet.
function count(name, res, amount) {
    const what = COUNTED_AS[name] || name;

    if (!told[what]) {
        return;
    }
    if (res.status === 200 || res.status === 204) {
        told[what].add(amount);
    } else if (res.status === 202 || isUnknown(res)) {
        unsure[what].add(amount);
    }
}

function call(method, path, name, userId, body) {
    const headers = { userId: String(userId) };

    if (body) {
        headers['Content-Type'] = 'application/json';
    }

    const res = http.request(method, BASE_URL + path,
                             body ? JSON.stringify(body) : null,
                             { headers: headers, tags: { name: name },
                               timeout: '10s' });

    duration.add(res.timings.duration, { name: name,
                                         status: String(res.status) });
    count(name, res, body && body.amount ? body.amount : 1);

    return res.status >= 200 && res.status < 300 && res.body
           ? res.json() : null;
}

const enter = (userId) =>
    call('POST', '/api/token', 'token', userId, { userId: userId });

const leave = (userId) =>
    call('DELETE', `/api/token/${userId}`, 'leave', userId);

// A seat that nobody else asks for.
function reserve(userId, n) {
    const schedule = 1 + n % SCHEDULES;
    const seat = 1 + Math.floor(n / SCHEDULES) % SEATS;

    return call('POST', '/api/reservations/seats', 'reservation', userId,
                { userId: userId, concertId: Math.ceil(schedule / 3),
                  scheduleId: schedule, seatIdList: [seat] });
}

// What the gateway's window does in a browser.
function agree(order) {
    const res = http.post(`${GATEWAY_URL}/window`, JSON.stringify(order),
                          { tags: { name: 'window' }, timeout: '10s' });

    return res.status === 200 ? res.json() : null;
}

export function setup() {
    for (let i = 0; i < LOOKERS; i++) {
        enter(1 + i);
    }

    console.log(`fault at ${Date.now() + BEFORE * 1000}`);
}

export function cards() {
    const n = exec.scenario.iterationInTest;
    const userId = BUYERS + n % EACH;

    enter(userId);
    const mine = reserve(userId, 2 * n);
    const order = mine && call('POST', '/api/payments/orders', 'order', userId,
                               { userId: userId,
                                 reservationId: mine.reservationId });
    const agreed = order && agree(order);

    const payment = agreed
        && call('POST', '/api/reservations/payments', 'card', userId,
                { userId: userId, reservationId: mine.reservationId,
                  amount: order.amount, method: 'card',
                  orderId: order.orderId, paymentKey: agreed.paymentKey });

    if (payment && payment.status === 'PAID') {
        paid.add(1);
    }
    leave(userId);
}

export function others() {
    const n = exec.scenario.iterationInTest;
    const looker = 1 + n % LOOKERS;
    const userId = HOLDERS + n % 2000;

    call('GET', '/api/concerts', 'get-concerts', looker);
    call('GET', `/api/concerts/seats/${randomItem([1, 2, 3])}`, 'get-seat',
         looker);
    call('GET', `/api/balance/${userId}`, 'balance', userId);
    call('PUT', '/api/balance/charge', 'charge', userId,
         { userId: userId, amount: 1000 });

    enter(userId);
    const mine = reserve(userId, 2 * n + 1);

    if (mine && n % CANCEL_EVERY === 0) {
        call('DELETE', `/api/reservations/${mine.reservationId}`, 'cancel',
             userId);
    } else if (mine) {
        call('POST', '/api/reservations/payments', 'payment', userId,
             { userId: userId, reservationId: mine.reservationId,
               amount: mine.totalPrice, method: 'balance' });
    }
    leave(userId);
}
