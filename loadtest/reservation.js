// The seed's first scenario, from the queue to the payment, with its steps and
// waits: VUS people at once (100), for DURATION (1m), on the demo data.
//
// Unlike the seed's script (seed/reservation.js) no two virtual users are ever
// the same user, seats are reserved in the schedule that they were listed for,
// and the price is what the reservation says.

import { sleep } from 'k6';
import { duration, enter, getConcerts, getSchedules, getSeat, getToken,
         isActive, ownShare, pay, randomIntBetween, randomItem, reserve,
         thresholds, vus } from './lib.js';

const USERS = 10000;
const CONCERT = 1;
const VUS = vus(100);

export const options = {
    scenarios: {
        reservation: {
            executor: 'constant-vus',
            vus: VUS,
            duration: duration('1m')
        }
    },
    thresholds: thresholds(['token', 'get-token', 'status-check',
                            'get-concerts', 'get-schedule', 'get-seat',
                            'reservation', 'payment'])
};

export default function () {
    const share = ownShare(1, USERS, VUS);
    const userId = randomIntBetween(share[0], share[1]);

    if (!enter(userId)) {
        return;
    }
    sleep(1);
    getToken(userId);

    while (!isActive(userId)) {
        sleep(2);
    }

    getConcerts(userId);
    sleep(1);

    const schedules = getSchedules(userId, CONCERT);
    if (!schedules) {
        return;
    }
    sleep(1.5);

    const scheduleId = randomItem(schedules).scheduleId;
    const seat = getSeat(userId, scheduleId);
    if (!seat) {
        return;
    }
    sleep(1);

    const reservation = reserve(userId, CONCERT, scheduleId,
                                seat.seatId);
    if (reservation) {
        pay(userId, reservation);
    }
}
