// One step of the search for the greatest rate (run.d/capacity.sh): FLOW,
// `reservation` (the whole way of a buyer, from the queue to the payment) or
// `balance` (a look and a charge), begun RATE times a second whether the ones
// before have ended or not, for STEP seconds after RAMP seconds on the way up
// from RATE_BEFORE. Nobody waits between two requests: it is the rate that is
// to be found, and waits would only take memory of k6.
//
// The thresholds are the goal; a step that breaks them is too fast.

import exec from 'k6/execution';
import { Counter, Gauge } from 'k6/metrics';
import { charge, enter, getBalance, getConcerts, getSchedules, getSeat,
         getToken, isActive, pay, reserve } from './lib.js';

const USERS = 10000;
const CONCERTS = 3;
const AMOUNT = 6000;
const FLOW = __ENV.FLOW || 'reservation';
const RATE = Number(__ENV.RATE || 50);
const RATE_BEFORE = Number(__ENV.RATE_BEFORE || 1);
const RAMP = Number(__ENV.RAMP || 2);
const STEP = Number(__ENV.STEP || 8);
const P95_MS = Number(__ENV.GOAL_P95_MS || 100);
const ERRORS = Number(__ENV.GOAL_ERRORS || 0.001);

// enough for ways of 0.8 s, which is eight requests of 100 ms
const VUS = Math.min(Math.max(20, Math.ceil(RATE * 0.8)), 600);

const FLOWS = {
    reservation: {
        routes: ['token', 'get-token', 'status-check', 'get-concerts',
                 'get-schedule', 'get-seat', 'reservation', 'payment'],
        way: reservation
    },
    balance: { routes: ['balance', 'charge'], way: balance }
};
const flow = FLOWS[FLOW];

// ways that were gone to their end
const ways = new Counter('ways');

// when the step began, in ms since the epoch
const began = new Gauge('began_ms');

const limits = {
    'http_req_duration{phase:hold}': [`p(95)<=${P95_MS}`],
    'http_req_failed{phase:hold}': [`rate<=${ERRORS}`],
    'http_reqs{phase:hold}': ['count>0'],
    'ways{phase:hold}': ['count>0']
};

flow.routes.forEach((name) => {
    limits[`http_req_duration{phase:hold,name:${name}}`]
        = [`p(95)<=${P95_MS}`];
});

export const options = {
    scenarios: {
        capacity: {
            executor: 'ramping-arrival-rate',
            startRate: RATE_BEFORE,
            timeUnit: '1s',
            preAllocatedVUs: VUS,
            maxVUs: VUS,
            stages: [{ target: RATE, duration: `${RAMP}s` },
                     { target: RATE, duration: `${STEP}s` }],
            gracefulStop: '20s'
        }
    },
    thresholds: limits
};


function reservation(n) {
    const userId = 1 + n % USERS;
    const concert = 1 + n % CONCERTS;

    if (!enter(userId) || !getToken(userId) || !isActive(userId)
        || !getConcerts(userId))
    {
        return false;
    }

    const schedules = getSchedules(userId, concert);
    if (!schedules) {
        return false;
    }

    const scheduleId = schedules[Math.floor(n / CONCERTS) % schedules.length]
                       .scheduleId;
    const seat = getSeat(userId, scheduleId);
    if (!seat) {
        return false;
    }

    const mine = reserve(userId, concert, scheduleId, seat.seatId);

    return mine !== null && pay(userId, mine) !== null;
}

function balance(n) {
    const userId = 1 + n % USERS;

    return getBalance(userId) !== null && charge(userId, AMOUNT) !== null;
}

export default function () {
    const seconds = (Date.now() - exec.scenario.startTime) / 1000;

    if (exec.scenario.iterationInTest === 0) {
        began.add(exec.scenario.startTime + RAMP * 1000);
    }

    exec.vu.metrics.tags.phase = seconds < RAMP ? 'ramp' : 'hold';

    if (flow.way(exec.scenario.iterationInTest)) {
        ways.add(1);
    }
}
