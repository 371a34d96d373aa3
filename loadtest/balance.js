// The seed's second scenario, a look at the balance and a charge: VUS people at
// once (100), for DURATION (1m), on the demo data.
//
// Unlike the seed's script (seed/balance.js) no two virtual users are ever the
// same user, so each charge can be checked, and 6,000 is what is charged.

import { check, sleep } from 'k6';
import { charge, duration, getBalance, ownShare, randomIntBetween, thresholds,
         vus } from './lib.js';

const FIRST_USER = 20;
const LAST_USER = 1000;
const AMOUNT = 6000;
const VUS = vus(100);

export const options = {
    scenarios: {
        balance: {
            executor: 'constant-vus',
            vus: VUS,
            duration: duration('1m')
        }
    },
    thresholds: thresholds(['balance', 'charge'])
};

export default function () {
    const share = ownShare(FIRST_USER, LAST_USER, VUS);
    const userId = randomIntBetween(share[0], share[1]);

    const before = getBalance(userId);
    if (!before) {
        return;
    }
    sleep(1);

    const after = charge(userId, AMOUNT);
    if (!after) {
        return;
    }
    check(after, {
        'a charge adds its amount': (b) => b.amount === before.amount + AMOUNT
    });
}
