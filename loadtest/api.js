// Each of the nine APIs of the seed's report alone, one after the other, by VUS
// virtual users (20) that do not wait, for API_SECONDS each (5). With API set
// only that one: token, token_get, charge, balance, concerts, schedules,
// seats, reserve or pay.
//
// Some calls need others: a token is given back after it was got, a payment
// needs a reservation. These are made in between, under tags of their own.

import exec from 'k6/execution';
import * as lib from './lib.js';

const USERS = 10000;
const CONCERT = 1;
const AMOUNT = 6000;
const VUS = lib.vus(20);
const SECONDS = Number(__ENV.API_SECONDS || 5);
const STOP_SECONDS = 2;         // for the last iteration to end

// In the order in which they run, with the tag that each is measured by.
const APIS = {
    token: 'token',
    token_get: 'get-token',
    charge: 'charge',
    balance: 'balance',
    concerts: 'get-concerts',
    schedules: 'get-schedule',
    seats: 'get-seat',
    reserve: 'reservation',
    pay: 'payment'
};

const chosen = __ENV.API ? [__ENV.API] : Object.keys(APIS);

chosen.forEach((api) => {
    if (!APIS[api]) {
        throw new Error(`API=${api} is none of ${Object.keys(APIS)}`);
    }
});

const scenarios = {};

chosen.forEach((api, i) => {
    scenarios[api] = {
        executor: 'constant-vus',
        exec: api,
        vus: VUS,
        duration: `${SECONDS}s`,
        startTime: `${i * (SECONDS + STOP_SECONDS)}s`,
        gracefulStop: `${STOP_SECONDS}s`
    };
});

export const options = {
    scenarios: scenarios,
    thresholds: lib.thresholds(chosen.map((api) => APIS[api]))
};


// Of this virtual user alone: its users, of whom the first has an active token,
// and how many seats it has reserved so far.
let users = null;
let reserved = 0;

function ownUsers() {
    if (users === null) {
        users = lib.ownShare(1, USERS, VUS);
    }
    return users;
}

function activeUser() {
    return ownUsers()[0];
}

function newUser() {
    return lib.randomIntBetween(ownUsers()[0] + 1, ownUsers()[1]);
}

function anyUser() {
    return lib.randomIntBetween(ownUsers()[0], ownUsers()[1]);
}

// The next seat of this virtual user's share, in each schedule in turn.
function reserveNext(schedules) {
    const schedule = schedules[reserved % schedules.length];
    const share = lib.ownShare(1, schedule.totalSeat, VUS);
    const seatId = share[0] + Math.floor(reserved / schedules.length);

    if (seatId > share[1]) {
        exec.test.abort('no seats are left: reset with more SEATS');
    }
    reserved++;

    return lib.reserve(activeUser(), CONCERT, schedule.scheduleId, seatId);
}


// Gives each virtual user's first user a token; the schedules go to all below.
export function setup() {
    const each = Math.floor(USERS / VUS);

    for (let i = 0; i < VUS; i++) {
        lib.enter(1 + i * each);
    }

    return lib.getSchedules(1, CONCERT);
}

export function token() {
    const userId = newUser();

    lib.enter(userId);
    lib.leave(userId);
}

export function token_get() {
    lib.getToken(activeUser());
}

export function charge() {
    lib.charge(anyUser(), AMOUNT);
}

export function balance() {
    lib.getBalance(anyUser());
}

export function concerts() {
    lib.getConcerts(activeUser());
}

export function schedules() {
    lib.getSchedules(activeUser(), CONCERT);
}

export function seats(all) {
    lib.getSeat(activeUser(), lib.randomItem(all).scheduleId);
}

export function reserve(all) {
    reserveNext(all);
}

export function pay(all) {
    const reservation = reserveNext(all);

    if (reservation) {
        lib.pay(activeUser(), reservation);
        lib.enter(activeUser());
    }
}
