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

export const options = {
    scenarios: {
        faults: { executor: 'constant-vus', vus: VUS,
                  duration: duration('1m'), gracefulStop: '10s' }
    }
};

http.setResponseCallback(null);

// In won: what a 200 said, and what nobody can know (504, or no answer).
const told = { charge: new Counter('told_charged'),
               payment: new Counter('told_paid') };
const unsure = { charge: new Counter('unsure_charged'),
                 payment: new Counter('unsure_paid') };

function ask(method, path, name, userId, body) {
    const res = http.request(method, BASE_URL + path, JSON.stringify(body), {
        headers: { userId: String(userId),
                   'Content-Type': 'application/json' },
        tags: { name: name }, timeout: '10s'
    });

    if (told[name]) {
        if (res.status === 200) {
            told[name].add(body.amount);
        } else if (res.status === 504 || res.status === 0) {
            unsure[name].add(body.amount);
        }
    }

    sleep(0.05);

    return res.status === 200 ? res.json() : null;
}

export default function () {
    const share = ownShare(1, 10000, VUS);
    const userId = randomIntBetween(share[0], share[1]);

    ask('POST', '/api/token', 'token', userId, { userId: userId });
    ask('PUT', '/api/balance/charge', 'charge', userId,
        { userId: userId, amount: 600 });

    const reservation = ask('POST', '/api/reservations/seats', 'reservation',
                            userId,
                            { userId: userId, concertId: 1, scheduleId: 1,
                              seatIdList: [randomIntBetween(1, SEATS)] });

    if (reservation) {
        ask('POST', '/api/reservations/payments', 'payment', userId,
            { userId: userId, reservationId: reservation.reservationId,
              amount: reservation.totalPrice });
    }
}
