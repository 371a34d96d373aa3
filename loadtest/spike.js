// An opening: CROWD people (2,000), nobody before, all come within OPENING
// seconds (1). Each asks again when nextPoll says so, is let in in the order of
// arrival, buys a seat as the seed's users do (their waits shortened to PACE of
// them), and is done. No more than the queue's capacity are in at once.
//
// What each saw of the queue is printed, a line for each, for `order`: the
// times (ms) of asking for a token and of its answer, of the last question that
// was answered WAITING, and of the first answer ACTIVE.

import exec from 'k6/execution';
import { sleep } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';
import { enter, getConcerts, getSchedules, getSeat, getToken, pay,
         randomIntBetween, randomItem, reserve, smoke } from './lib.js';

const CROWD = Number(__ENV.CROWD || 2000);
const OPENING = Number(__ENV.OPENING || 1);
const PACE = Number(__ENV.PACE || 1);
const CONCERTS = 3;
const TRIES = 5;                // seats that one tries to get
const MAX_DURATION = '5m';
const ROUTES = ['token', 'get-token', 'get-concerts', 'get-schedule',
                'get-seat', 'reservation', 'payment'];

// of an opening, not of a calm hour: all come at once
const TOKEN_P95_MS = 1000;
const P95_MS = 500;

const bought = new Counter('bought');
const backwards = new Rate('position_grew');
const untilIn = new Trend('until_in', true);

const limits = {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    position_grew: ['rate==0'],
    bought: [`count==${CROWD}`]
};

ROUTES.forEach((name) => {
    limits[`http_reqs{name:${name}}`] = ['count>0'];

    if (!smoke) {
        limits[`http_req_duration{name:${name}}`]
            = [`p(95)<${name === 'token' ? TOKEN_P95_MS : P95_MS}`];
    }
});

export const options = {
    scenarios: {
        opening: { executor: 'per-vu-iterations', vus: CROWD, iterations: 1,
                   maxDuration: MAX_DURATION }
    },
    thresholds: limits
};


// From the first question to the answer that one is in; null if it went wrong.
function queue(userId) {
    const asked = Date.now();
    let token = enter(userId);
    const answered = Date.now();
    let waiting = token && token.status === 'WAITING' ? asked : 0;

    while (token && token.status === 'WAITING') {
        const position = token.position;

        sleep(token.nextPoll);
        const question = Date.now();
        token = getToken(userId);

        if (token) {
            backwards.add(token.position > position);
            waiting = token.status === 'WAITING' ? question : waiting;
        }
    }

    if (token) {
        untilIn.add(Date.now() - asked);
        console.log(`queue ${asked} ${answered} ${waiting} ${Date.now()}`);
    }

    return token;
}

function buy(userId) {
    const concert = randomIntBetween(1, CONCERTS);

    getConcerts(userId);
    sleep(1 * PACE);

    const schedules = getSchedules(userId, concert);
    if (!schedules) {
        return null;
    }
    sleep(1.5 * PACE);

    const scheduleId = randomItem(schedules).scheduleId;

    for (let i = 0; i < TRIES; i++) {
        const seat = getSeat(userId, scheduleId);
        sleep(1 * PACE);

        const mine = seat && reserve(userId, concert, scheduleId, seat.seatId);

        if (mine) {
            return pay(userId, mine);
        }
    }

    return null;
}

export default function () {
    const userId = exec.vu.idInTest;

    sleep(Math.random() * OPENING);

    if (queue(userId)) {
        getToken(userId);

        if (buy(userId)) {
            bought.add(1);
        }
    }
}
