// Steady traffic on all routes while a drill breaks something below them
// (drill, drills/*.sh): each route RATE times a second (10), whether the calls
// before were answered or not. What is asked of one of BASE_URLS and is not
// answered at all is asked of the next one, as a balancer does it, with the same
// Idempotency-Key; that one rests for a second.
//
// Errors are no failures of the script. Its thresholds are what must hold SETTLE
// seconds after the fault: all routes keep GOAL_P95_MS again. When the traffic
// begins it says when the fault is to begin, BEFORE seconds later ("fault at MS"),
// to last for OUTAGE; the exact times are the runner's, who reads each call from
// the CSV, and judges by that what failed, and who kept the goal meanwhile.

import http from 'k6/http';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import { isUnknown, randomItem, smoke } from './lib.js';

const URLS = (__ENV.BASE_URLS || __ENV.BASE_URL).split(',');
const RATE = Number(__ENV.RATE || 10);
const BEFORE = Number(__ENV.BEFORE || 12);
const OUTAGE = Number(__ENV.OUTAGE || 20);
const AFTERWARDS = Number(__ENV.AFTERWARDS || 15);
const SETTLE = Number(__ENV.SETTLE || 8);
const SECONDS = BEFORE + OUTAGE + AFTERWARDS;
const SEATS = Number(__ENV.SEATS || 50000);
const SCHEDULES = 9;            // of the demo, three of a concert
const AMOUNT = 600;
const REST_MS = 1000;
const PAY_EVERY = 2;            // s, as reservations to pay are made before
const ROUTES = ['token', 'get-token', 'status-check', 'leave', 'get-concerts',
                'get-schedule', 'get-seat', 'reservation', 'cancel', 'payment',
                'balance', 'charge', 'my-reservations'];

// the users of each scenario
const QUEUE = 1, CATALOG = 2001, BUYERS = 4001, PAYERS = 6001, MONEY = 8001;
const EACH = 2000;
const LOOKERS = 50;

// a call with all of its attempts
const duration = new Trend('call_duration', true);

const told = {}, unsure = {};

['charge', 'payment', 'reservation', 'cancel'].forEach((name) => {
    told[name] = new Counter(`told_${name}`);
    unsure[name] = new Counter(`unsure_${name}`);
});

const limits = {};

if (!smoke) {
    ROUTES.forEach((name) => {
        limits[`call_duration{name:${name},phase:after}`]
            = [`p(95)<=${__ENV.GOAL_P95_MS}`];
    });
}

function steady(name, unit) {
    return { executor: 'constant-arrival-rate', exec: name, rate: RATE,
             timeUnit: unit || '1s', duration: `${SECONDS}s`, preAllocatedVUs: 20,
             maxVUs: 120, gracefulStop: '12s' };
}

export const options = {
    setupTimeout: '60s',
    scenarios: {
        queue: steady('queue'),
        catalog: steady('catalog'),
        buy: steady('buy'),
        pay: steady('pay', `${PAY_EVERY}s`),
        money: steady('money')
    },
    thresholds: limits
};

http.setResponseCallback(null);


// what setup() has planned and made, for all
let plan = { begins: Infinity };

function phase() {
    const seconds = (Date.now() - plan.begins) / 1000;

    return seconds >= OUTAGE + SETTLE ? 'after'
           : seconds >= 0 ? 'during' : 'before';
}

const restsUntil = URLS.map(() => 0);

// Any that does not rest, or just any. (In turn, a route would be asked of the
// same one again and again.)
function nextServer() {
    const servers = URLS.map((url, server) => server);
    const awake = servers.filter((server) => Date.now() >= restsUntil[server]);

    return randomItem(awake.length > 0 ? awake : servers);
}

// The last answer, and whether what was asked may have been done without one.
function attempts(method, path, params, body) {
    let res = null, maybe = false;

    for (let i = 0; i < URLS.length; i++) {
        const server = nextServer();

        params.tags.server = String(server + 1);
        res = http.request(method, URLS[server] + path, body, params);

        maybe = maybe || isUnknown(res);

        if (res.status !== 0) {
            break;
        }
        restsUntil[server] = Date.now() + REST_MS;
    }

    return [res, maybe];
}

function isWell(res) {
    return res.status >= 200 && res.status < 300;
}

function ask(method, path, name, userId, body, quietly) {
    const began = Date.now();
    const tags = { name: name, phase: phase() };
    const headers = { userId: String(userId) };

    if (body) {
        headers['Content-Type'] = 'application/json';
        headers['Idempotency-Key'] = `${began}-${Math.random()}`;
    }

    const [res, maybe] = attempts(method, path,
                                  { headers: headers,
                                    tags: Object.assign({}, tags),
                                    timeout: '10s' },
                                  body ? JSON.stringify(body) : null);
    const amount = body && body.amount ? body.amount : 1;

    if (told[name] && isWell(res)) {
        told[name].add(amount);
    } else if (told[name] && maybe) {
        unsure[name].add(amount);
    }

    if (!quietly) {
        tags.status = String(res.status);
        duration.add(Date.now() - began, tags);
    }

    return isWell(res) && res.body ? res.json() : null;
}


const enter = (userId, quietly) =>
    ask('POST', '/api/token', 'token', userId, { userId: userId }, quietly);

// Seats that nobody else asks for, those of the payers first.
function reserve(userId, n, quietly) {
    const schedule = 1 + n % SCHEDULES;
    const seat = 1 + Math.floor(n / SCHEDULES) % SEATS;

    return ask('POST', '/api/reservations/seats', 'reservation', userId,
               { userId: userId, concertId: Math.ceil(schedule / 3),
                 scheduleId: schedule, seatIdList: [seat] }, quietly);
}

const STOCK = Math.min(Math.ceil(RATE * SECONDS / PAY_EVERY) + RATE, EACH);

// Reservations to pay, and tokens of those who look around.
export function setup() {
    const stock = [];

    for (let i = 0; i < STOCK; i++) {
        enter(PAYERS + i, true);
        stock.push(reserve(PAYERS + i, i, true));
        ask('DELETE', `/api/token/${PAYERS + i}`, 'leave', PAYERS + i, null,
            true);
    }

    for (let i = 0; i < LOOKERS; i++) {
        enter(CATALOG + i, true);
    }

    const begins = Date.now() + BEFORE * 1000;
    console.log(`fault at ${begins}`);

    return { begins: begins, stock: stock };
}

export function queue(planned) {
    plan = planned;
    const userId = QUEUE + exec.scenario.iterationInTest % EACH;

    enter(userId);
    ask('GET', `/api/token/${userId}`, 'get-token', userId);
    ask('GET', `/api/token/status/${userId}`, 'status-check', userId);
    ask('DELETE', `/api/token/${userId}`, 'leave', userId);
}

export function catalog(planned) {
    plan = planned;
    const userId = CATALOG + exec.scenario.iterationInTest % LOOKERS;

    if (!ask('GET', '/api/concerts', 'get-concerts', userId)) {
        enter(userId, true);    // the token may have been lost with Redis
    }
    ask('GET', '/api/concerts/schedules/1', 'get-schedule', userId);
    ask('GET', `/api/concerts/seats/${randomItem([1, 2, 3])}`, 'get-seat',
        userId);
}

export function buy(planned) {
    plan = planned;
    const n = exec.scenario.iterationInTest;
    const userId = BUYERS + n % EACH;

    enter(userId, true);
    const mine = reserve(userId, STOCK + n);

    if (mine) {
        ask('DELETE', `/api/reservations/${mine.reservationId}`, 'cancel',
            userId);
    }
    ask('DELETE', `/api/token/${userId}`, 'leave', userId, null, true);
}

export function pay(planned) {
    plan = planned;
    const reservation = plan.stock[exec.scenario.iterationInTest];

    if (reservation) {
        ask('POST', '/api/reservations/payments', 'payment',
            reservation.userId,
            { userId: reservation.userId, amount: reservation.totalPrice,
              reservationId: reservation.reservationId });
    }
}

export function money(planned) {
    plan = planned;
    const userId = MONEY + exec.scenario.iterationInTest % EACH;

    ask('GET', `/api/balance/${userId}`, 'balance', userId);
    ask('PUT', '/api/balance/charge', 'charge', userId,
        { userId: userId, amount: AMOUNT });
    ask('GET', '/api/reservations', 'my-reservations', userId);
}
