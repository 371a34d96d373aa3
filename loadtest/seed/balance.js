import http from 'k6/http';
import {check, sleep} from 'k6';
import {randomIntBetween, randomItem} from '../lib.js';

export let options = {
    scenarios: {
        balance_scenario: {
            vus: 100, // 가상 사용자
            exec: 'balance_scenario',
            executor: 'constant-vus',
            // iterations: 1,
            duration: '1m'
        }
    }
};

export function balance_scenario() {

    let userId = randomIntBetween(20, 1000);

    getBalance(userId);
}

function getBalance(userId) {
    let getBalanceRes = http.get(
        `http://localhost:8080/api/balance/${userId}`,
        {
            tags: { name: 'balance'}
        }
    );
    check(getBalanceRes, { 'is status 200': (r) => r.status === 200 });
    let amount = getBalanceRes.json()['amount'];
    if (getBalanceRes.status === 200) {
        sleep(1);
        chargeBalance(userId, amount); // 결제
    }
}

function chargeBalance(userId, amount) {
    amount += 6000;
    let chargeRequest = {
        userId: userId,
        amount: amount
    }
    let chargeBalanceRes = http.put(
        'http://localhost:8080/api/balance/charge',
        JSON.stringify(chargeRequest),
        {
            headers: { 'Content-Type': 'application/json' },
            tags: { name: 'charge' }
        }
    )
    check(chargeBalanceRes, { 'is status 200': (r) => r.status === 200 });
}
