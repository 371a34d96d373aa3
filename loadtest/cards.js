// Payments by card, as many as the lanes to the gateway let through: VUS users
// (64) reserve and pay one after the other for DURATION (15s). How many were
// paid is in the counter cards_paid.

import { cards, setup } from './gateway_outage.js';

export { cards, setup };

export const options = {
    setupTimeout: '60s',
    scenarios: {
        cards: { executor: 'constant-vus', exec: 'cards',
                 vus: Number(__ENV.VUS || 64),
                 duration: __ENV.DURATION || '15s', gracefulStop: '0s' }
    },
    thresholds: { cards_paid: ['count>0'] }
};
