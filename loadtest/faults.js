// Everything that writes, all the time, for as long as `faults` breaks things
// below it. Errors are no failures here: what the clients were told, and what
// they could not be told, is counted and held against the ledger afterwards.

import http from 'k6/http';
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { duration, ownShare, randomIntBetween, vus } from './lib.js';

const BASE_URL = __ENV.BASE_URL;
const VUS = vus(40);
const SEATS = Number(__ENV.SEATS || 50000);
const SCHEDULES = 9;            // of the demo, three of a concert

export const options = {
    scenarios: {
        faults: { executor: 'constant-vus', vus: VUS,
                  duration: duration('1m'), gracefulStop: '10s' }
    }
};

http.setResponseCallback(null);

// What a 200 said, and what nobody can know (504, or no answer): won, or how
// many. Who cannot even connect knows that nothing was done.
const CONNECTION_REFUSED = 1212;
const told = {}, unsure = {};

['charge', 'payment', 'reservation', 'cancel'].forEach((name) => {
    told[name] = new Counter(`told_${name}`);
    unsure[name] = new Counter(`unsure_${name}`);
});

function ask(method, path, name, userId, body) {
    const headers = { userId: String(userId) };

    if (body) {
        headers['Content-Type'] = 'application/json';
    }

    const res = http.request(method, BASE_URL + path,
                             body ? JSON.stringify(body) : null,
                             { headers: headers, tags: { name: name },
                               timeout: '10s' });

    if (told[name]) {
        const amount = body && body.amount ? body.amount : 1;

        if (res.status === 200 || res.status === 204) {
            told[name].add(amount);
        } else if (res.status === 504
                   || res.status === 0
                      && res.error_code !== CONNECTION_REFUSED) {
            unsure[name].add(amount);
        }
    }

    sleep(0.05);

    return res.status === 200 ? res.json() : null;
}

export default function () {
    const share = ownShare(1, 10000, VUS);
    const userId = randomIntBetween(share[0], share[1]);

    if (!ask('POST', '/api/token', 'token', userId, { userId: userId })) {
        return;
    }

    ask('PUT', '/api/balance/charge', 'charge', userId,
        { userId: userId, amount: 600 });

    const schedule = randomIntBetween(1, SCHEDULES);
    const reservation = ask('POST', '/api/reservations/seats', 'reservation',
                            userId,
                            { userId: userId, scheduleId: schedule,
                              concertId: Math.ceil(schedule / 3),
                              seatIdList: [randomIntBetween(1, SEATS)] });

    // seats must last as long as this does
    if (reservation && Math.random() < 0.5) {
        ask('POST', '/api/reservations/payments', 'payment', userId,
            { userId: userId, reservationId: reservation.reservationId,
              amount: reservation.totalPrice });
        return;
    }

    if (reservation) {
        ask('DELETE', `/api/reservations/${reservation.reservationId}`,
            'cancel', userId);
    }

    ask('DELETE', `/api/token/${userId}`, 'leave', userId);
}
