import http from 'k6/http';
import {check, sleep} from 'k6';
import {randomIntBetween, randomItem} from '../lib.js';

export let options = {
    scenarios: {
        concert_scenario: {
            vus: 100, // 가상 사용자
            exec: 'concert_scenario',
            executor: 'constant-vus',
            // iterations: 1,
            duration: '1m'
        }
    }
};

export function concert_scenario() {

    let userId = randomIntBetween(1, 10000);

    token(userId) // 토큰 발급 및 조회

    waitForActive(userId);

    getConcert(userId); // 콘서트 조회
    sleep(1);
    getSchedule(userId); // 일정 조회
    sleep(1.5);
    let seatId = getSeat(userId); // 좌석 조회
    sleep(1);
    seatReservation(userId, seatId); // 좌석 예약

}

function token(userId) {
    let tokenRequest = { userId: userId };
    let tokenRes = http.post(
        'http://localhost:8080/api/token',
        JSON.stringify(tokenRequest),
        {
            headers: { 'Content-Type': 'application/json' },
            tags: { name: 'token' }
        }
    );
    check(tokenRes, { 'is status 200': (r) => r.status === 200 });
    sleep(1);
    getToken(userId);
}

function getToken(userId) {
    let getTokenRes = http.get(
        `http://localhost:8080/api/token/${userId}`,
        {
            tags: { name: 'get-token' }
        }
    );
    check(getTokenRes, { 'is status 200': (r) => r.status === 200 });
}

function waitForActive(userId) {
    let isActive = false;

    while (!isActive) {
        let statusRes = http.get(
            `http://localhost:8080/api/token/status/${userId}`,
            {
                tags: { name: 'status-check' }
            }
        );

        if (statusRes.status === 200 && statusRes.body === 'true') {
            isActive = true;
        } else {
            sleep(2);
        }
    }
}


function getConcert(userId) {
    let concertRes = http.get(
        'http://localhost:8080/api/concerts',
        {
            tags: { name: 'get-concerts' },
            headers: { 'userId': userId }
        }
    );
    check(concertRes, { 'is status 200': (r) => r.status === 200 });
}

function getSchedule(userId) {
    let concertId = 1;
    let scheduleRes = http.get(
        `http://localhost:8080/api/concerts/schedules/${concertId}`,
        {
            tags: { name: 'get-schedule' },
            headers: { 'userId': userId }
        }
    );
    check(scheduleRes, { 'is status 200': (r) => r.status === 200 });
}

function getSeat(userId) {
    let scheduleId = 3;
    let seatRes = http.get(
        `http://localhost:8080/api/concerts/seats/${scheduleId}`,
        {
            tags: { name: 'get-seat' },
            headers: { 'userId': userId }
        }
    );
    check(seatRes, { 'is status 200': (r) => r.status === 200 });
    let randomSeat = randomItem(seatRes.json())['seatId'];

    return randomSeat;
}

function seatReservation(userId, seatId) {
    let seatIdList = [seatId];
    let concertId = 1;
    let scheduleId = 1;
    let reservationRequest = {
        userId: userId,
        concertId: concertId,
        scheduleId: scheduleId,
        seatIdList: seatIdList
    };
    let reservationRes = http.post(
        'http://localhost:8080/api/reservations/seats',
        JSON.stringify(reservationRequest),
        {
            headers: { 'Content-Type': 'application/json', 'userId': userId },
            tags: { name: 'reservation' }
        }
    );
    check(reservationRes, { 'is status 200': (r) => r.status === 200 });
    let reservationId = reservationRes.json()['reservationId'];
    if (reservationRes.status === 200) {
        payment(userId, reservationId); // 결제
    } 
}

function payment(userId, reservationId) {
    let amount = 60000;
    let paymentRequest = {
        userId: userId,
        reservationId: reservationId,
        amount: amount
    };
    let paymentRes = http.post(
        'http://localhost:8080/api/reservations/payments',
        JSON.stringify(paymentRequest),
        {
            headers: { 'Content-Type': 'application/json', 'userId': userId },
            tags: { name: 'payment' }
        }
    );
    check(paymentRes, { 'is status 200': (r) => r.status === 200 });
}
