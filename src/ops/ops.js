'use strict';

// Shows what /status tells, every two seconds, and what has changed since the
// answers before: rates and percentiles are of differences.

const EVERY = 2000;              // ms from answer to question
const PATIENCE = 6000;           // ms after which what is shown is old
const KEPT = 300;                // s of history
const RATE = 10;                 // s that a rate is of
const SLOW = 60;                 // s that a p95 is of
const FRESH = 5000;              // ms for which figures of Redis or PostgreSQL are of now
const COUNTED = 60000;           // the same of seats: counting them takes its time
const TOLD = 8000;               // ms for which it is told that something was done
const OURS = ['healthz', 'readyz', 'metrics', 'status', 'ops'];
const STREAMS = 'token_events';  // lasts for as long as somebody waits

const TEXT = {
    en: {
        other: '한국어', title: 'Concert operations', live: 'live',
        connecting: 'connecting', silent: 'no answer',
        refusing: 'refused with {status}', unreadable: 'unreadable answers',
        stale: 'Since {time}: {why}. What is shown is of then.',
        never: 'Nothing to show: {why}.',
        noNews: 'no news since {time}', noneYet: 'no news yet',
        rate: 'Requests', p95: '95 % answered within', errors: 'Errors (5xx)',
        waiting: 'Waiting', active: 'Inside', called: 'Let in, not here yet',
        soldAll: 'Seats sold', routes: 'Routes',
        routesHint: 'Over 10 s, p95 over 1 min. Lines: rate (filled) and p95.',
        route: 'Route', perSecond: 'req/s', minutes: '5 min',
        refused4: '4xx', failed5: '5xx', noTraffic: 'No requests yet.',
        schedules: 'Seats sold', schedulesHint: 'The next 64 schedules: more color is fuller, the orange line is held.',
        noSchedules: 'Nothing counted yet.', countedAt: 'Counted at {time}.',
        cell: '{title}, {date} (schedule {id}): {sold} of {seats} sold, {held} held, {free} free',
        cellName: 'Schedule {id}: {share} sold',
        queue: 'Waiting queue', serving: 'Last number let in',
        queueRate: 'Let in per second', ttl: 'A token lives', any: 'any',
        holdsExpired: 'Holds that ran out', capacity: 'Room for',
        set: 'Set', emptyHint: 'Empty: as in nginx.conf.',
        open: 'open', paused: 'paused', pause: 'Pause the queue', resume: 'Resume the queue',
        breaker: 'Payment gateway breaker', since: 'Since',
        failureRate: 'Failed', slowCallRate: 'Slow', buffered: 'Calls in the window',
        notPermitted: 'Calls refused', retry: 'Asks again in', unknown: 'not known',
        events: 'Last changes', setState: 'State',
        payments: 'Card payments', pending: 'Pending', deposits: 'Waiting for a deposit', refunding: 'Being given back',
        oldest: 'Oldest', noCards: 'No payment gateway is configured.',
        refund: 'Give a payment back', paymentId: 'Payment', reason: 'Reason',
        giveBack: 'Give back', lanes: 'Connections', group: 'To', busy: 'Busy',
        calls: 'Calls/s', laneWaiting: 'Waiting', failed: 'Failed', refused: 'Refused',
        down: 'away', yes: 'Do it', cancel: 'Cancel',
        orders: {
            pause: ['Pause the queue?', 'Nobody is let in until you resume it. Who is inside stays.', 'The queue is paused.'],
            resume: ['Resume the queue?', 'Waiting users are let in again, in order.', 'The queue goes on.'],
            capacity: ['Room for {value}?', 'All instances follow within a second.', 'There is room for {value}.'],
            limit: ['Let in {value} per second?', 'All instances follow within a second.', '{value} per second are let in.'],
            state: ['Set the breaker to “{value}”?', 'All workers follow at once.', 'The breaker is set to “{value}”.'],
            refund: ['Give payment {value} back?', 'Its seats are free at once, and the money goes back. There is no way back.', 'Payment {value} is being given back.'],
        },
        conf: 'as many as nginx.conf says', underWay: 'Under way …',
        failedTo: 'Not done: {what}', unsure: 'Not known whether it was done ({what}). Look before you do it again.',
        check: 'Nothing was sent. Please correct: {what}', close: 'Close',
        states: { closed: 'closed', open: 'open', half_open: 'half-open', disabled: 'disabled', forced_open: 'forced open', metrics_only: 'metrics only' },
        means: { closed: 'works', open: 'refuses cards for now', half_open: 'probes', disabled: 'refuses none', forced_open: 'refuses all cards', metrics_only: 'refuses none, counts' },
        reasons: { configured: 'configured', operator: 'an operator', failure_rate: 'failures', slow_call_rate: 'slow calls', both_rates: 'failures and slow calls', waited: 'waited long enough', automatic: 'waited long enough', recovered: 'recovered', half_open_ended: 'probed for too long' },
        groups: { read: 'PostgreSQL, reads', write: 'PostgreSQL, writes', redis: 'Redis', gateway: 'Gateway' },
    },
    ko: {
        other: 'English', title: '콘서트 운영', live: '실시간',
        connecting: '연결 중', silent: '응답 없음',
        refusing: '{status} 거부', unreadable: '읽을 수 없는 응답',
        stale: '{time}부터 {why}. 화면은 그때 기준입니다.',
        never: '표시할 내용이 없습니다: {why}.',
        noNews: '{time}부터 소식 없음', noneYet: '아직 소식 없음',
        rate: '요청', p95: '95% 응답 시간', errors: '오류(5xx)',
        waiting: '대기 중', active: '입장', called: '호출됨(미입장)',
        soldAll: '판매 좌석', routes: '경로별 현황',
        routesHint: '10초 기준, p95는 1분. 그래프: 요청률(채움)과 p95.',
        route: '경로', perSecond: '초당', minutes: '5분',
        refused4: '4xx', failed5: '5xx', noTraffic: '아직 요청이 없습니다.',
        schedules: '좌석 판매', schedulesHint: '다가오는 64개 회차. 진할수록 많이 팔림, 주황선은 임시 점유.',
        noSchedules: '아직 집계되지 않았습니다.', countedAt: '{time} 집계.',
        cell: '{title}, {date} (회차 {id}): {seats}석 중 {sold}석 판매, {held}석 점유, {free}석 남음',
        cellName: '회차 {id}: {share} 판매',
        queue: '대기열', serving: '마지막 입장 번호',
        queueRate: '초당 입장', ttl: '토큰 유효 시간', any: '제한 없음',
        holdsExpired: '만료된 점유', capacity: '정원',
        set: '적용', emptyHint: '비워 두면 nginx.conf의 값.',
        open: '열림', paused: '일시 정지', pause: '대기열 일시 정지', resume: '대기열 재개',
        breaker: '결제 게이트웨이 차단기', since: '시작',
        failureRate: '실패율', slowCallRate: '지연율', buffered: '집계 중인 호출',
        notPermitted: '차단된 호출', retry: '재시도까지', unknown: '알 수 없음',
        events: '최근 변경', setState: '상태',
        payments: '카드 결제', pending: '처리 대기', deposits: '입금 대기', refunding: '환불 중',
        oldest: '가장 오래된 건', noCards: '결제 게이트웨이가 설정되지 않았습니다.',
        refund: '결제 환불', paymentId: '결제 번호', reason: '사유',
        giveBack: '환불', lanes: '연결', group: '대상', busy: '사용 중',
        calls: '초당 호출', laneWaiting: '대기', failed: '실패', refused: '거절',
        down: '끊김', yes: '실행', cancel: '취소',
        orders: {
            pause: ['대기열을 일시 정지할까요?', '재개할 때까지 아무도 입장하지 못합니다. 이미 입장한 사용자는 그대로입니다.', '대기열을 일시 정지했습니다.'],
            resume: ['대기열을 재개할까요?', '대기 중인 사용자가 순서대로 다시 입장합니다.', '대기열을 재개했습니다.'],
            capacity: ['정원을 {value}(으)로 바꿀까요?', '모든 인스턴스에 1초 안에 적용됩니다.', '정원을 {value}(으)로 바꿨습니다.'],
            limit: ['초당 입장을 {value}(으)로 바꿀까요?', '모든 인스턴스에 1초 안에 적용됩니다.', '초당 입장을 {value}(으)로 바꿨습니다.'],
            state: ['차단기를 “{value}” 상태로 바꿀까요?', '모든 워커에 바로 적용됩니다.', '차단기를 “{value}” 상태로 바꿨습니다.'],
            refund: ['결제 {value}번을 환불할까요?', '좌석은 바로 풀리고 금액은 환불됩니다. 되돌릴 수 없습니다.', '결제 {value}번의 환불을 시작했습니다.'],
        },
        conf: 'nginx.conf의 값', underWay: '처리 중…',
        failedTo: '실행되지 않음: {what}', unsure: '실행 여부를 알 수 없습니다({what}). 다시 실행하기 전에 확인하세요.',
        check: '보내지 않았습니다. 확인해 주세요: {what}', close: '닫기',
        states: { closed: '닫힘', open: '열림', half_open: '반열림', disabled: '사용 안 함', forced_open: '강제 열림', metrics_only: '집계만' },
        means: { closed: '정상', open: '카드 결제 잠시 차단', half_open: '시험 중', disabled: '차단 안 함', forced_open: '카드 결제 모두 차단', metrics_only: '차단 없이 집계' },
        reasons: { configured: '설정', operator: '운영자', failure_rate: '실패율 초과', slow_call_rate: '지연율 초과', both_rates: '실패율과 지연율 초과', waited: '대기 시간 경과', automatic: '대기 시간 경과', recovered: '회복', half_open_ended: '시험 시간 초과' },
        groups: { read: 'PostgreSQL 읽기', write: 'PostgreSQL 쓰기', redis: 'Redis', gateway: '게이트웨이' },
    },
};

const COLOR = { closed: 'good', half_open: 'warn', open: 'bad', forced_open: 'bad' };

const $ = id => document.getElementById(id);

let language = 'en';
let text = TEXT.en;
let format = {};

const history = [];              // of what differences are made of
let status = null;               // the last answer
let answered = 0;                // when it came
let trouble = 'silent';          // why none came: a word of TEXT, or the status
let asking = false;              // one question at a time: answers keep their order
let watched = Date.now();        // since when somebody looks
let chosen = 0;                  // the schedule whose seats are told
let decide = () => {};           // answers the question that is asked
let said = () => '';             // what the last order has come to
let hushed = 0;                  // the timer that ends that


// --- language ---

function fill(template, values) {
    return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function speak(to) {
    const clock = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };

    language = to;
    text = TEXT[to];
    format = {
        count: new Intl.NumberFormat(to),
        short: new Intl.NumberFormat(to, { notation: 'compact', maximumSignificantDigits: 3 }),
        rate: new Intl.NumberFormat(to, { minimumFractionDigits: 1, maximumFractionDigits: 1 }),
        percent: new Intl.NumberFormat(to, { style: 'percent', maximumFractionDigits: 0 }),
        clock: new Intl.DateTimeFormat(to, clock),
        moment: new Intl.DateTimeFormat(to, { ...clock, month: 'short', day: 'numeric' }),
        date: new Intl.DateTimeFormat(to, { dateStyle: 'medium', timeStyle: 'short' }),
    };

    document.documentElement.lang = to;
    document.title = text.title;

    for (const e of document.querySelectorAll('[data-t]')) {
        e.textContent = text[e.dataset.t];
    }

    $('language').textContent = text.other;
    $('language').lang = to === 'en' ? 'ko' : 'en';
    $('state').replaceChildren(...Object.keys(text.states).map(state => {
        const option = element('option', `${text.states[state]} – ${text.means[state]}`);
        option.value = state;
        return option;
    }));

    write($('said'), said());
    age();

    if (status) {
        show();
    }
}

function remembered() {
    try {
        return localStorage.getItem('language');
    } catch {
        return null;
    }
}

function remember(to) {
    try {
        localStorage.setItem('language', to);
    } catch {
        // nothing is kept: the navigator is asked again
    }
}


// --- what has changed ---

function sample(s) {
    const routes = {};

    for (const [name, r] of Object.entries(s.routes).filter(([name]) => !OURS.includes(name))) {
        routes[name] = { buckets: r.buckets, refused: r['4xx'], failed: r['5xx'], n: sum(r.buckets) };
    }

    return { t: Date.parse(s.time) / 1000, routes, waiting: s.queue.waiting,
             lanes: Object.fromEntries(s.lanes.map(l => [l.group, l.calls])) };
}

// counters that have shrunk are those of a new server
function keep(now) {
    const last = history.at(-1);

    if (last && (now.t < last.t || Object.keys(last.routes).some(
            name => (now.routes[name]?.n ?? 0) < last.routes[name].n))) {
        history.length = 0;
    }

    history.push(now);

    while (history[0].t < now.t - KEPT) {
        history.shift();
    }
}

const share = (part, whole) => whole ? part / whole : 0;
const sum = list => list.reduce((a, b) => a + b, 0);

// the newest sample that is at least so many seconds older, or the oldest
function before(i, seconds) {
    let j = Math.max(i - 1, 0);

    while (j > 0 && history[i].t - history[j].t < seconds) {
        j--;
    }

    return j;
}

// of one route, or of all requests, in the seconds up to sample i; a stream is
// no request that somebody waits for, but one that has failed is told
function change(i, seconds, name) {
    const now = history[i], then = history[before(i, seconds)];
    const change = { seconds: now.t - then.t, n: 0, refused: 0, failed: 0, buckets: [] };

    for (const route of name ? [name] : Object.keys(now.routes)) {
        const a = now.routes[route], b = then.routes[route];

        if (a && b) {
            change.failed += a.failed - b.failed;

            if (!name && route === STREAMS) {
                continue;
            }

            change.n += a.n - b.n;
            change.refused += a.refused - b.refused;
            a.buckets.forEach((n, k) => {
                change.buckets[k] = (change.buckets[k] ?? 0) + n - b.buckets[k];
            });
        }
    }

    return change;
}

const per = (n, seconds) => seconds > 0 ? n / seconds : null;

// as Prometheus's histogram_quantile; Infinity is above the last bound
function quantile(share, buckets, bounds) {
    const wanted = share * sum(buckets);
    let seen = 0;

    for (let i = 0; wanted > 0 && i < buckets.length; i++) {
        if (seen + buckets[i] >= wanted) {
            const low = i ? bounds[i - 1] : 0;
            return i < bounds.length ? low + (bounds[i] - low) * (wanted - seen) / buckets[i] : Infinity;
        }
        seen += buckets[i];
    }

    return null;
}

const p95 = (i, name) => quantile(.95, change(i, SLOW, name).buckets, status.latencyBounds);


// --- words for numbers ---

const NOTHING = '–';

const count = n => n == null ? NOTHING : format.count.format(n);
const short = n => n < 100000 ? count(n) : format.short.format(n);
const rate = n => n == null ? NOTHING : n < 100 ? format.rate.format(n) : short(Math.round(n));

function ms(n) {
    if (n == null) {
        return NOTHING;
    }
    if (n === Infinity) {
        return `> ${seconds(status.latencyBounds.at(-1) / 1000)}`;
    }
    return n < 1000 ? unit(+n.toPrecision(n < 10 ? 2 : 3), 'millisecond') : unit(+(n / 1000).toFixed(1), 'second');
}

function seconds(n) {
    return n < 120 ? unit(n, 'second')
         : n < 7200 ? unit(Math.round(n / 60), 'minute') : unit(Math.round(n / 3600), 'hour');
}

// of another day with its date
function clock(time) {
    const at = new Date(time ?? NaN);

    if (!+at) {
        return NOTHING;
    }

    return (at.toDateString() === new Date().toDateString() ? format.clock : format.moment).format(at);
}

function unit(n, name) {
    return new Intl.NumberFormat(language, { style: 'unit', unit: name, unitDisplay: 'short' }).format(n);
}


// --- showing ---

function element(tag, content, name) {
    const e = document.createElement(tag);

    e.textContent = content ?? '';
    if (name) {
        e.className = name;
    }

    return e;
}

// what is the same is not written: it would be read out again
function write(e, words) {
    if (e.textContent !== words) {
        e.textContent = words;
    }
}

function put(values) {
    for (const e of document.querySelectorAll('[data-v]')) {
        const [first, second] = e.dataset.v.split('.');

        write(e, second ? count(status[first]?.[second]) : values[first]);
    }
}

function chip(e, content, color) {
    write(e, content);
    e.className = `chip ${color ?? ''}`;
}

// lines over the last minutes, each as high as its own greatest value
function draw(svg, ...lines) {
    const end = history.at(-1)?.t ?? 0;
    const paths = [];

    for (const [values, name] of lines) {
        const top = Math.max(...values.filter(Number.isFinite), Number.MIN_VALUE);
        const points = values.map((v, i) => v == null ? null
            : [300 - (end - history[i].t), 32 - 30 * Math.min(v / top, 1)]).filter(Boolean);

        if (points.length > 1) {
            const line = points.map(p => p.map(n => n.toFixed(1)).join(' ')).join('L');
            if (name !== 'slow') {
                paths.push(path(`M${points[0][0].toFixed(1)} 33L${line}L${points.at(-1)[0].toFixed(1)} 33Z`, 'area'));
            }
            paths.push(path('M' + line, name));
        }
    }

    svg.setAttribute('viewBox', '0 0 300 34');
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.replaceChildren(...paths);
}

const vector = tag => document.createElementNS('http://www.w3.org/2000/svg', tag);

function path(d, name) {
    const p = vector('path');

    p.setAttribute('d', d);
    p.setAttribute('class', name ?? '');
    return p;
}

// of each sample but the first, which has nothing before it
const line = value => history.map((_, i) => i ? value(i) : null);
const rates = (what, name) => line(i => {
    const c = change(i, RATE, name);
    return per(c[what], c.seconds);
});

function show() {
    const last = history.length - 1;
    const now = change(last, RATE);
    const { queue, payments, breaker, schedules } = status;
    const sold = sum(schedules.map(s => s.sold)), seats = sum(schedules.map(s => s.totalSeat));

    put({
        rate: rate(per(now.n, now.seconds)),
        errors: rate(per(now.failed, now.seconds)),
        p95: ms(p95(last)),
        sold: seats ? format.percent.format(sold / seats) : NOTHING,
        seats: seats ? count(sold) : '',
        countedAt: status.countedAt ? fill(text.countedAt, { time: clock(status.countedAt) }) : '',
        queueRate: queue.rate == null ? text.any : count(queue.rate),
        ttl: seconds(queue.ttl),
        holdsExpired: count(status.holdsExpired),
        pendingAge: payments?.pending ? seconds(payments.pendingAge) : NOTHING,
        refundingAge: payments?.refunding ? seconds(payments.refundingAge) : NOTHING,
        since: clock(breaker?.since),
        failureRate: known(breaker?.failureRate),
        slowCallRate: known(breaker?.slowCallRate),
        retry: breaker?.retry ? seconds(breaker.retry) : NOTHING,
        versions: `ngx_http_concert_module ${status.version} · nginx ${status.nginx}`,
    });

    draw($('rate-line'), [rates('n')]);
    draw($('p95-line'), [line(i => p95(i))]);
    draw($('error-line'), [rates('failed')]);
    draw($('waiting-line'), [history.map(s => s.waiting)]);
    $('active-bar').style.width = `${Math.min(100, 100 * share(queue.active, queue.capacity))}%`;
    $('sold-bar').style.width = `${100 * share(sold, seats)}%`;

    news('queue', queue.seenAt, FRESH);
    news('payments', payments?.seenAt, FRESH);
    // seats are not counted while nobody looks
    news('seats', Date.now() - watched > COUNTED && status.countedAt || undefined, COUNTED);

    showRoutes(last);
    showStrip(schedules);
    showQueue(queue);
    showLanes(last);

    $('breaker').hidden = !breaker;
    $('unsettled').hidden = !payments;
    $('no-cards').hidden = !!payments;

    for (const e of document.querySelectorAll('.deposits')) {
        e.hidden = !payments?.deposits;
    }

    if (breaker) {
        showBreaker(breaker);
    }
}

// the server's own answer does not tell that it has not reached Redis or
// PostgreSQL; null: never yet, undefined: nothing is known of it
function news(name, seenAt, patience) {
    const old = seenAt !== undefined && Date.parse(status.time) - new Date(seenAt) > patience;

    for (const e of document.querySelectorAll(`[data-news=${name}]`)) {
        e.hidden = !old;
        write(e, !old ? '' : seenAt ? fill(text.noNews, { time: clock(seenAt) }) : text.noneYet);
        e.closest('.figure, .card').classList.toggle('old', old);
    }
}

const known = percent => percent == null ? text.unknown : format.percent.format(percent / 100);

function showRoutes(last) {
    const body = $('routes').tBodies[0];
    const names = Object.keys(history[last].routes).filter(name => history[last].routes[name].n > 0);

    $('routes').hidden = !names.length;
    $('no-routes').hidden = names.length > 0;

    names.forEach((name, i) => {
        let row = body.querySelector(`[data-route="${name}"]`);

        if (!row) {
            row = element('tr');
            row.dataset.route = name;
            row.append(element('td', name, 'code'), element('td'), element('td'), element('td', '', 'line'),
                       element('td'), element('td'));
            row.cells[3].append(vector('svg'));
        }

        if (body.rows[i] !== row) {
            body.insertBefore(row, body.rows[i] ?? null);
        }

        const now = change(last, RATE, name), c = row.cells;

        c[1].textContent = rate(per(now.n, now.seconds));
        c[2].textContent = ms(p95(last, name));
        c[4].textContent = rate(per(now.refused, now.seconds));
        c[5].textContent = rate(per(now.failed, now.seconds));
        c[1].className = now.n ? '' : 'zero';
        c[4].className = now.refused ? '' : 'zero';
        c[5].className = now.failed ? 'bad' : 'zero';

        draw(c[3].firstChild,
             [rates('n', name)],
             [line(i => p95(i, name)), 'slow']);
    });

    while (body.rows.length > names.length) {
        body.lastChild.remove();
    }
}

function showStrip(schedules) {
    const strip = $('strip');

    $('no-schedules').hidden = schedules.length > 0;

    while (strip.children.length > schedules.length) {
        strip.lastChild.remove();
    }

    schedules.forEach((s, i) => {
        const sold = share(s.sold, s.totalSeat);

        if (!strip.children[i]) {
            strip.append(element('li'));
            strip.lastChild.append(element('button'));
            strip.lastChild.firstChild.type = 'button';
        }

        const button = strip.children[i].firstChild;

        button.replaceChildren(`#${s.scheduleId}`, element('b', format.percent.format(sold)), element('i'));
        button.style.setProperty('--share', sold.toFixed(3));
        button.style.setProperty('--held-share', share(s.held, s.totalSeat).toFixed(3));
        button.title = cell(s);
        button.setAttribute('aria-label', fill(text.cellName, { id: s.scheduleId, share: format.percent.format(sold) }));
        button.setAttribute('aria-pressed', s.scheduleId === chosen);
        button.onclick = () => {
            chosen = chosen === s.scheduleId ? 0 : s.scheduleId;
            showStrip(status.schedules);
        };
    });

    const s = schedules.find(s => s.scheduleId === chosen);

    write($('cell'), s ? cell(s) : '');
}

function cell(s) {
    return fill(text.cell, { title: s.concertTitle, date: format.date.format(new Date(s.scheduleDate)),
                             id: s.scheduleId, sold: count(s.sold), held: count(s.held),
                             free: count(s.free), seats: count(s.totalSeat) });
}

function showQueue(queue) {
    chip($('queue-state'), queue.paused ? text.paused : text.open, queue.paused ? 'warn' : 'good');
    $('pause').textContent = queue.paused ? text.resume : text.pause;
    $('capacity').placeholder = queue.capacity;
    $('limit').placeholder = queue.rate ?? text.any;
}

function showBreaker(breaker) {
    const list = $('events');
    const key = [language, new Date().toDateString(), breaker.events.at(-1)?.number].join();

    chip($('breaker-state'), `${text.states[breaker.state]} – ${text.means[breaker.state]}`, COLOR[breaker.state]);

    if (list.dataset.key === key) {
        return;
    }

    list.dataset.key = key;
    list.replaceChildren(...breaker.events.slice().reverse().map(e => {
        const item = element('li'), time = element('time', clock(e.at));

        time.dateTime = e.at;
        item.dataset.to = e.to;
        item.append(time, element('span', `${text.states[e.from]} → ${text.states[e.to]}`),
                    element('small', text.reasons[e.reason]));
        return item;
    }));
}

function showLanes(last) {
    const then = history[before(last, RATE)], seconds = history[last].t - then.t;

    $('lanes').tBodies[0].replaceChildren(...status.lanes.map(lane => {
        const row = element('tr');
        const name = element('td', text.groups[lane.group]);
        const calls = per(lane.calls - (then.lanes[lane.group] ?? lane.calls), seconds);

        if (lane.down) {
            name.append(' ', element('span', text.down, 'chip bad'));
        }

        row.dataset.group = lane.group;
        row.append(name, element('td', `${count(lane.busy)}/${count(lane.lanes)}`), element('td', rate(calls)),
                   element('td', short(lane.waiting)),
                   element('td', short(lane.failed), lane.failed ? 'bad' : 'zero'),
                   element('td', short(lane.refused), lane.refused ? 'bad' : 'zero'));
        return row;
    }));
}

// whether what is shown is of now, and of when it is else
function age() {
    const now = Date.now();
    const old = now - answered > PATIENCE;
    const stale = old && !document.hidden && now - watched > PATIENCE;
    const why = text[trouble] ?? fill(text.refusing, { status: trouble });

    chip($('live'), stale ? why : old ? text.connecting : text.live, stale ? 'bad' : old ? '' : 'good');
    document.body.classList.toggle('stale', stale);
    $('stale').hidden = !stale;
    write($('stale'), stale ? fill(answered ? text.stale : text.never, { why, time: clock(answered) }) : '');

    for (const e of document.querySelectorAll('.switches button, .switches input, .switches select')) {
        e.disabled = old;
    }
}


// --- asking ---

async function ask() {
    if (asking) {
        return;
    }

    let why = 'silent';
    asking = true;

    try {
        const answer = await fetch('../status', { cache: 'no-store', signal: AbortSignal.timeout(4000) });

        why = answer.ok ? 'unreadable' : answer.status;

        if (answer.ok) {
            const told = await answer.json();

            keep(sample(told));
            status = told;
            show();
            answered = Date.now();
            why = 'silent';
        }
    } catch (error) {
        if (why === 'unreadable') {
            console.error(error);
        }
    } finally {
        asking = false;
        trouble = why;
        age();
    }
}

// nobody looks: nothing is asked, and nothing counted for us
async function watch() {
    if (!document.hidden) {
        await ask();
    }

    setTimeout(watch, EVERY);
}


// --- switches ---

function sure(what, means) {
    $('sure-what').textContent = what;
    $('sure-means').textContent = means;
    $('sure').showModal();

    return new Promise(resolve => {
        decide = resolve;
    });
}

// at once: the dialog's event comes later, when the next question may be asked
function conclude(yes) {
    $('sure').close();
    decide(yes);
}

// in the language of the page, also when that changes; only good news go away by
// themselves
function say(color, words) {
    said = words;
    clearTimeout(hushed);
    write($('said'), words());
    $('toast').className = `banner ${color}`;
    $('toast').hidden = false;

    if (color === 'good') {
        hushed = setTimeout(hush, TOLD);
    }
}

function hush() {
    $('toast').hidden = true;
}

// returns whether it was done; value() goes into the texts
async function order(name, value, method, path, body) {
    const words = i => fill(text.orders[name][i], { value: value() });

    if (!await sure(words(0), words(1))) {
        return false;
    }

    let done = false;
    say('', () => text.underWay);

    try {
        const answer = await fetch(path, { method, body: JSON.stringify(body),
                                           headers: { 'Content-Type': 'application/json' },
                                           signal: AbortSignal.timeout(10000) });
        const json = await answer.json().catch(() => ({}));
        const what = [answer.status, json.code, json.detail].filter(Boolean).join(' ');

        done = answer.ok;

        if (done) {
            say('good', () => words(2));
        } else if (answer.status < 500 || answer.status === 503) {
            say('bad', () => fill(text.failedTo, { what }));
        } else {
            say('warn', () => fill(text.unsure, { what }));
        }
    } catch {
        say('warn', () => fill(text.unsure, { what: text.silent }));
    }

    ask();
    return done;
}

// whether what is written can be what is meant
function valid(...ids) {
    const wrong = ids.map($).find(e => !e.checkValidity());

    if (wrong) {
        say('bad', () => fill(text.check, { what: text[wrong.labels[0].dataset.t] }));
        wrong.focus();
    }

    return !wrong;
}

async function setQueue(id, member) {
    if (!valid(id)) {
        return;
    }

    const value = $(id).value ? Number($(id).value) : null;

    if (await order(id, () => value ? count(value) : text.conf, 'PATCH', '../queue', { [member]: value })) {
        $(id).value = '';
    }
}

async function refund() {
    if (!valid('payment', 'reason')) {
        return;
    }

    const payment = $('payment').value;

    if (await order('refund', () => payment, 'POST', `../refunds/${payment}`, { reason: $('reason').value.trim() })) {
        $('payment').value = $('reason').value = '';
    }
}

$('pause').onclick = () => {
    const paused = !status.queue.paused;

    order(paused ? 'pause' : 'resume', () => '', 'PATCH', '../queue', { paused });
};

$('set-capacity').onclick = () => setQueue('capacity', 'capacity');
$('set-limit').onclick = () => setQueue('limit', 'rate');
$('set-refund').onclick = refund;
$('hush').onclick = hush;

$('set-state').onclick = () => {
    const state = $('state').value;

    order('state', () => text.states[state], 'POST', '../gateway/breaker', { state });
};

$('yes').onclick = () => conclude(true);
$('no').onclick = () => conclude(false);

// by the key Esc
$('sure').onclose = () => {
    if (!$('sure').open) {
        decide(false);
    }
};

$('language').onclick = () => {
    remember(language === 'en' ? 'ko' : 'en');
    speak(language === 'en' ? 'ko' : 'en');
};

speak(TEXT[remembered()] ? remembered() : navigator.language.startsWith('ko') ? 'ko' : 'en');
document.addEventListener('visibilitychange', () => {
    watched = Date.now();
    age();

    if (!document.hidden) {
        ask();
    }
});
setInterval(age, 1000);
watch();
