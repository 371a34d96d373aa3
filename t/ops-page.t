# The operators' page, in a browser: what it shows is what /status tells, its
# switches do what they say, and it says when it knows nothing.

use strict;
use warnings;
use utf8;

use Test::More;
use Time::HiRes qw( time );

use Browser;
use Concert;
use Events;
use Gateway;
use Proxy;

plan skip_all => 'this release has no chromium' if !Browser->installed;

binmode Test::More->builder->$_, ':utf8'
    for qw( output failure_output todo_output );

# What a cookie of the browser's asks for is answered in the place of the module.
my %Broken = (http => <<'HTTP', server => <<'SERVER');
    map "$cookie_broken $uri" $broken {
        "refused /status"  403;
        "garbled /status"  garbled;
        "cut /queue"       cut;
    }
HTTP
    if ($broken = 403) {
        return 403;
    }
    if ($broken = garbled) {
        return 200 '{"time": 1}';
    }
    if ($broken = cut) {
        return 444;
    }
SERVER

my $Gateway = Gateway->start;
my %Nginx = (server => $Broken{server},gateway => $Gateway, workers => 2, cards => 'timeout=5s',
             queue => 'capacity=2 rate=50/s name=page-' . stranger(),
             http => $Broken{http} . <<'END');
    concert_breaker sliding_window_size=4 minimum_number_of_calls=4
                    wait_duration_in_open_state=3s
                    permitted_number_of_calls_in_half_open_state=2;
END
my $Nginx = nginx(%Nginx);
my $Page = "http://127.0.0.1:$Nginx->{port}/ops/";

# the first to begin, so that it is among those that are shown
my $Soon = seconds_from_now(20 * 60);
my $Concert = concert(Concert::bytes('Nocturnes <b>of</b> 서울'));
my $Schedule = schedule(concert => $Concert, seats => 10, price => 1500,
                        starts => $Soon);
my $Hall = schedule(seats => 100, price => 1500);
my $Ann = $Nginx->client(user(100_000));
my $Seat = 0;
my $Browser;

sub status { return $Nginx->nobody->get('/status')->json }
sub shown { return $Browser->text(qq{[data-v="$_[0]"]}) }

# The same as a number.
sub number {
    my ($number) = shown($_[0]) =~ /^([\d.,]+)/ or return 0;
    return $number =~ tr/,//dr;
}

# From now on the server answers as %Broken says; or as it is, again.
sub broken {
    my ($how) = @_;
    my $age = $how ? 3600 : 0;

    $how //= '';
    $Browser->script("document.cookie = 'broken=$how; path=/; max-age=$age'");
}

sub pay {
    my $held = hold($Ann->id, $Hall, ++$Seat);
    my $order = $Ann->post('/api/payments/orders',
                           { userId => 0 + $Ann->id,
                             reservationId => 0 + $held })->json;
    my $card = $Gateway->window(%$order);

    return $Ann->post('/api/reservations/payments', {
        userId => 0 + $Ann->id, reservationId => 0 + $held, amount => 1500,
        method => 'card', orderId => $card->{orderId},
        paymentKey => $card->{paymentKey} });
}

# Clicks a switch until it asks whether one is sure (it is off for a moment after
# the machine has stood still), and answers; $question may say how it has to ask.
sub order {
    my ($switch, $answer, $question) = @_;

    eventually {
        $Browser->click($switch) if !seen('#sure');
        seen('#sure');
    } 'it is asked whether one is sure';
    is $Browser->text('#sure-what'), $question, 'by a question' if $question;
    $Browser->click("#$answer");
}

sub seen {
    return $Browser->script('return document.querySelector(arguments[0])'
                            . '.checkVisibility()', $_[0]);
}

# What is in a field, or is put there.
sub written {
    my ($id, $text) = @_;

    $Browser->script('document.getElementById(arguments[0]).value'
                     . ' = arguments[1]', $id, $text) if defined $text;
    return $Browser->script('return document.getElementById(arguments[0])'
                            . '.value', $id);
}

what_is_served();

$Browser = Browser->start;
$Browser->go($Page);

numbers();
routes();
streams();
schedules();
languages();
queue_switches();
drill();
refunds();

dates();
payments();

is_deeply [ $Browser->console ], [], 'the browser has nothing to complain of';

looks();
questions();
no_use();
phone('en');
phone('ko');

no_answer();
outage();

$Browser->stop;
done_testing();


sub what_is_served {
    my %type = ('' => 'text/html; charset=utf-8',
                'index.html' => 'text/html; charset=utf-8',
                'ops.js' => 'text/javascript; charset=utf-8',
                'ops.css' => 'text/css; charset=utf-8',
                'icon.svg' => 'image/svg+xml');
    my $bytes = 0;

    for my $file (sort keys %type) {
        my $answer = $Nginx->nobody->get("/ops/$file");
        my $etag = $answer->header('ETag');

        is $answer->status, 200, "/ops/$file is served";
        is $answer->header('Content-Type'), $type{$file}, 'as what it is';
        is $answer->header('Cache-Control'), 'private, no-cache',
           'to be asked for again';
        is $Nginx->nobody->get("/ops/$file", undef,
                               'If-None-Match' => $etag)->status, 304,
           'and not to be sent again';
        is $Nginx->nobody->ask(HEAD => "/ops/$file")->header('Content-Length'),
           length $answer->body, 'HEAD tells how long it is';
        $bytes += length $answer->body if $file;
    }

    # each is one answer from memory, made without a step of its own
    cmp_ok $bytes, '<', 48 * 1024, 'all of it is small';

    my $answer = $Nginx->nobody->get('/ops/');
    my $policy = $answer->header('Content-Security-Policy');

    like $policy, qr/^default-src 'none'; script-src 'self'; /,
         'a browser runs nothing in it that comes from elsewhere';
    like $policy, qr/frame-ancestors 'none'/, 'nor shows it in another page';
    unlike $policy, qr/unsafe|https?:|,/, 'without exception';
    is $answer->header('X-Content-Type-Options'), 'nosniff',
       'or as something else';

    is_problem $Nginx->nobody->get("/ops/$_"), 'route_not_found',
               "/ops/$_ is not there"
        for qw( ops.c ../ops/x index.html/ INDEX.HTML );
    is_problem $Nginx->nobody->post('/ops/', '{}'), 'method_not_allowed',
               'it is only for GET';
}

sub numbers {
    my @users = map { $Nginx->client(stranger()) } 1 .. 5;

    $_->enter for @users;

    eventually { $Browser->text('#live') eq 'live' } 'the page is live';
    eventually { shown('queue.waiting') eq '3' } 'it shows how many wait';
    eventually { shown('queue.active') eq '2' } 'and how many are in';

    my $queue = status()->{queue};

    is shown("queue.$_"), $queue->{$_}, "$_ is what /status tells"
        for qw( waiting called active capacity serving );
    is_deeply $Browser->script('return [...document.querySelectorAll('
                               . '"#lanes tr[data-group]")]'
                               . '.map(e => e.dataset.group)'),
              [ map { $_->{group} } @{ status()->{lanes} } ],
              'all lanes are there';
}

sub routes {
    my $row = 'tr[data-route="balance"]';

    is $Browser->text($row), '', 'a route without requests is not listed';

    eventually {
        $Ann->balance for 1 .. 10;
        ($Browser->text("$row td:nth-child(2)") || 0) > 0;
    } 'traffic makes the rate of its route';
    like $Browser->text("$row td:nth-child(3)"), qr/^(?:> )?[\d.]+ m?s/,
         'and its p95';
    cmp_ok number('rate'), '>', 0, 'the rate of all is more than none';
    eventually {
        $Browser->script("return document.querySelectorAll('$row path').length")
            >= 3;
    } 'there are lines of the last minutes';

    $Nginx->client(user())->put('/api/balance/charge', '{}');
    eventually {
        ($Browser->text('tr[data-route="charge"] td:nth-child(5)') || 0) > 0;
    } 'what was refused is told apart';
}

# How long somebody waits in the queue is not how long an answer takes.
sub streams {
    my ($waits) = grep { $_->enter->json->{status} eq 'WAITING' }
                  map { $Nginx->client(stranger()) } 1 .. 3;
    my $stream = Events->open($Nginx, '/api/token/events/' . $waits->id);

    is $stream->next->{event}, 'position', 'somebody waits in a stream';
    sleep 1;
    $stream->close;

    my $told;

    eventually {
        $told = $Browser->script(<<'END');
            const last = history.length - 1;
            const all = change(last, SLOW), rows = {};
            for (const name of Object.keys(history[last].routes)) {
                rows[name] = change(last, SLOW, name);
            }
            return { all, rows };
END
        $told->{rows}{token_events}{n};
    } 'a stream that has ended is seen';

    my $n = 0;
    $n += $_->{n} for values %{ $told->{rows} };

    is $told->{all}{n}, $n - $told->{rows}{token_events}{n},
       'but is none of the requests of all routes';
    is_deeply [ map { my $k = $_;
                      my $sum = 0;
                      $sum += $_->{buckets}[$k] for values %{ $told->{rows} };
                      $sum - $told->{rows}{token_events}{buckets}[$k] }
                0 .. $#{ $told->{all}{buckets} } ],
              $told->{all}{buckets}, 'nor of their times';
    like $Browser->text('tr[data-route="token_events"] td:nth-child(3)'),
         qr/^(?:> )?[\d.]+ m?s/, 'its row tells how long it was';
}

sub schedules {
    my $user = user(1_000_000);
    my $is = sub { return (grep { $_->{scheduleId} == $Schedule }
                                @{ status()->{schedules} })[0] // {} };

    paid($user, $Schedule, 1, 2, 3);
    paying($user, $Schedule, 4);
    hold($user, $Schedule, 5, 6);
    expired($user, $Schedule, 7);

    my $counted;

    # it may have been counted between two of these
    eventually { $counted = $is->(); ($counted->{held} // 0) == 2 }
               'seats that are held are counted';
    is $counted->{sold}, 4, 'and those that are sold, or claimed for payment';
    is $counted->{free}, 4, 'the others are free';
    is $counted->{totalSeat}, 10, 'of all';
    is $counted->{concertTitle}, 'Nocturnes <b>of</b> 서울', 'with the title';
    is $counted->{concertId}, $Concert, 'the concert';
    is $counted->{scheduleDate} =~ s/\.000\+00:00/Z/r, $Soon, 'and the time';

    my $cell = qq{#strip button[aria-label^="Schedule $Schedule:"]};

    eventually { $Browser->text("$cell b") eq '40%' }
               'the strip shows how much is sold';
    $Browser->click($cell);
    eventually { $Browser->text('#cell') =~
                 /^Nocturnes <b>of<\/b> 서울, .* 4 of 10 sold, 2 held, 4 free$/ }
               'a cell tells all of it, and a title is no HTML';
    is $Browser->script('return document.querySelectorAll("#strip li").length'),
       scalar @{ status()->{schedules} }, 'each schedule has a cell';
}

sub languages {
    is $Browser->text('h1'), 'Concert operations', 'the page speaks English';
    $Browser->click('#language');
    is $Browser->text('h1'), '콘서트 운영', 'and Korean';
    eventually { $Browser->text('#live') eq '실시간' } 'everywhere';
    is $Browser->script('return document.documentElement.lang'), 'ko',
       'and says so';

    $Browser->reload;
    eventually { $Browser->text('#live') eq '실시간' }
               'which it remembers';
    is_deeply $Browser->script(<<'END'), [], 'no word is missing in either';
        const names = (o, path = '') => Object.entries(o).flatMap(([k, v]) =>
            typeof v === 'string' ? [path + k] : names(v, path + k + '.'));
        const en = names(TEXT.en), ko = names(TEXT.ko);
        const used = [...document.querySelectorAll('[data-t]')]
                     .map(e => e.dataset.t);
        return [...en.filter(k => !ko.includes(k)),
                ...ko.filter(k => !en.includes(k)),
                ...used.filter(k => !en.includes(k))];
END
    $Browser->click('#language');
    is $Browser->text('h1'), 'Concert operations', 'and back';
}

sub queue_switches {
    my $set = sub { return $Nginx->nobody->get('/queue')->json };

    is $Browser->text('#queue-state'), 'open', 'the queue is open';
    order('#pause', 'no');
    ok !$set->()->{paused}, 'who is not sure does nothing';

    order('#pause', 'yes');
    eventually { $set->()->{paused} } 'the queue is paused by a click';
    eventually { $Browser->text('#queue-state') =~ /paused/ }
               'the page shows it';
    eventually { $Browser->text('#pause') eq 'Resume the queue' }
               'and can resume it';
    order('#pause', 'yes');
    eventually { !$set->()->{paused} } 'which goes on';

    $Browser->type('#capacity', 7);
    order('#set-capacity', 'yes');
    eventually { $set->()->{capacity} == 7 } 'its capacity is set';
    eventually { shown('queue.capacity') eq '7' } 'and shown';

    eventually { $Browser->text('#said') eq 'There is room for 7.' }
               'what was done is told';
    is $Browser->script('return document.getElementById("capacity").value'),
       '', 'and what was written for it is gone';

    $Browser->type('#limit', 9_000_000);
    order('#set-limit', 'yes');
    eventually { $Browser->text('#said') =~ /^Not done: 400 invalid_request/ }
               'what is refused is told';
    is written('limit'), 9_000_000, 'and can be mended';

    for my $wrong ('5,000', 'abc', '0', '-1', '1e9', '2.5') {
        written(limit => '');
        $Browser->type('#limit', $wrong);
        $Browser->click('#set-limit');
        is $Browser->text('#said'),
           'Nothing was sent. Please correct: Let in per second',
           "$wrong is no number of users";
        ok !seen('#sure'), 'and nobody is asked';
        is written('limit'), $wrong, 'it stays to be corrected';
    }

    is $set->()->{rate}, 50, 'nothing was set by any';
    written(limit => '');

    order('#set-limit', 'yes');
    eventually { $Browser->text('#said') eq
                 'as many as nginx.conf says per second are let in.' }
               'nothing goes back to nginx.conf';
    order('#set-capacity', 'yes');
    eventually { $Browser->text('#said') eq
                 'There is room for as many as nginx.conf says.' }
               'which is told';
    is $set->()->{capacity}, 2, 'and done';
    eventually { !seen('#toast') } 'for some seconds';

    # a question that is asked before the browser has told of the last one's end
    $Browser->script(<<'END');
        for (const id of ['capacity', 'limit']) {
            document.getElementById(id).value = 9;
            document.getElementById(`set-${id}`).click();
            document.getElementById('yes').click();
        }
        document.getElementById('set-capacity').click();
END
    eventually { $set->()->{capacity} == 9 && $set->()->{rate} == 9 }
               'orders that follow at once are both given';
    ok seen('#sure'), 'and the next question waits for its answer';
    $Browser->press("\x{E00C}");
    eventually { !seen('#sure') } 'which Esc takes away';
    eventually { written('capacity') eq '' } 'what was sent is gone';
    is $set->()->{capacity}, 9, 'and what was not sent was not done';
    order("#set-$_", 'yes') for qw( limit capacity );
    eventually { $set->()->{capacity} == 2 && $set->()->{rate} == 50 }
               'as before';

    broken('cut');
    order('#pause', 'yes');
    eventually { $Browser->text('#said') eq 'Not known whether it was done '
                 . '(no answer). Look before you do it again.' }
               'an answer that is lost says nothing';
    broken();
    $Browser->click('#language');
    is $Browser->text('#said'), '실행 여부를 알 수 없습니다(응답 없음). '
       . '다시 실행하기 전에 확인하세요.', 'in whatever language';
    $Browser->click('#hush');
    ok !seen('#toast'), 'a click takes it away';

    order('#pause', 'yes', '대기열을 일시 정지할까요?');
    eventually { $Browser->text('#said') eq '대기열을 일시 정지했습니다.' }
               'is told as done by a sentence of its own';
    eventually { $Browser->text('#pause') eq '대기열 재개' } 'in Korean';
    order('#pause', 'yes');
    eventually { $Browser->text('#said') eq '대기열을 재개했습니다.' } 'as well';
    $Browser->click('#language');
    is $Browser->text('#said'), 'The queue goes on.', 'and in English';

    # what was refused or lost, which the browser itself logs
    is scalar(grep { !/status of 400|ERR_EMPTY_RESPONSE/ } $Browser->console),
       0, 'the browser has nothing to complain of';
}

sub drill {
    my $changes = sub {
        return $Browser->script('return [...document.querySelectorAll('
                                . '"#events li[data-to]")].reverse()'
                                . '.map(e => e.dataset.to)');
    };

    like $Browser->text('#breaker-state'), qr/closed/, 'the breaker is closed';

    my $pending = sql('select count(*) from concert.orders
                       where pending_since is not null');

    $Gateway->switch(confirm => { error_rate => 1 },
                     lookup => { error_rate => 1 });
    eventually { pay()->status == 503 } 'the gateway fails';
    eventually { $Browser->text('#breaker-state') =~ /^(?:half-)?open/ }
               'the breaker is seen to open';
    eventually { number('payments.pending') > $pending }
               'and what it leaves pending';

    $Gateway->switches_off;
    eventually { pay()->status == 200 } 'the gateway is back';
    eventually { $Browser->text('#breaker-state') =~ /closed/ }
               'the breaker is seen to close';

    my $events = status()->{breaker}{events};

    is_deeply $changes->(), [ map { $_->{to} } @$events ],
              'its changes are listed';
    like join(' ', @{ $changes->() }), qr/\bopen .*half_open .*closed\z/,
         'on the way from open to closed';
    ok abs(time - seconds_of($events->[-1]{at})) < 600,
       'with the time of day';
    is_deeply [ sort { $a <=> $b } map { $_->{number} } @$events ],
              [ map { $_->{number} } @$events ], 'in their order';

    eventually { number('payments.pending') == $pending }
               'none of those stays pending';

    $Browser->script('document.getElementById("state").value = "forced_open"');
    order('#set-state', 'yes');
    eventually { status()->{breaker}{state} eq 'forced_open' }
               'a click shuts it';
    is pay()->status, 503, 'for every card';
    $Browser->script('document.getElementById("state").value = "closed"');
    order('#set-state', 'yes');
    eventually { status()->{breaker}{state} eq 'closed' } 'and closes it';
    eventually { $Browser->text('#events li:first-child') =~ /an operator/ }
               'which the list says as well';
}

sub refunds {
    my $payment = payment_of(paid(user(100_000), $Hall, ++$Seat));

    $Browser->click('#set-refund');
    is $Browser->text('#said'), 'Nothing was sent. Please correct: Payment',
       'a refund needs a payment';
    $Browser->type('#payment', $payment);
    $Browser->type('#reason', '  ');
    $Browser->click('#set-refund');
    is $Browser->text('#said'), 'Nothing was sent. Please correct: Reason',
       'and a reason';
    written(reason => '');
    $Browser->type('#reason', '취소 요청');
    order('#set-refund', 'yes');
    eventually { sql("select status from concert.all_payments
                      where payment_id = $payment") eq 'REFUNDED' }
               'a click gives a payment back';
    is sql("select reason from concert.refunds where payment_id = $payment"),
       Concert::bytes('취소 요청'), 'with its reason';
    eventually { $Browser->text('#said')
                 eq "Payment $payment is being given back." } 'and says so';
    is written('payment') . written('reason'), '',
       'what was written cannot be sent again';
}

# A list of changes is of days.
sub dates {
    my %shown = map { $_ => $Browser->script(<<'END', $_) } qw( en ko );
        const day = 86400e3, before = language;
        const at = days => new Date(Date.now() - days * day).toISOString();
        const kept = status.breaker;
        const event = (number, days) => ({ number, from: 'closed', to: 'open',
                                           reason: 'operator', at: at(days) });

        speak(arguments[0]);
        status.breaker = { ...kept, since: at(1), events:
                           [event(9001, 400), event(9002, 1), event(9003, 0)] };
        show();
        const texts = [...document.querySelectorAll(
            '[data-v=since], #events time')].map(e => e.textContent);
        status.breaker = kept;
        speak(before);
        return texts;
END

    my $clock = qr/\d\d:\d\d:\d\d/;

    like $shown{en}[0], qr/^[A-Z][a-z]+ \d+, $clock$/,
         'what has lasted since yesterday has a date';
    like $shown{en}[1], qr/^$clock$/, 'a change of today has none';
    like $shown{en}[2], qr/^[A-Z][a-z]+ \d+, $clock$/, 'yesterday\'s has one';
    like $shown{en}[3], qr/^[A-Z][a-z]+ \d+, $clock$/, 'and those before';
    like $shown{ko}[0], qr/^\d+월 \d+일 $clock$/, 'in Korean, too';
    like $shown{ko}[1], qr/^$clock$/, 'only then';
}

# Of payments that were not asked for lately, and of a module that does not tell
# when.
sub payments {
    my $shown = sub { return $Browser->script(<<'END', @_) };
        const kept = status.payments;
        const time = Date.parse(status.time);
        const { age, ...more } = arguments[0];

        status.payments = { pending: 2, pendingAge: 40, refunding: 0,
                            refundingAge: 0, ...more };
        if (age !== undefined) {
            status.payments.seenAt = age === null ? null
                                   : new Date(time - age).toISOString();
        }
        show();
        const seen = [...document.querySelectorAll(
            '#payments .chip, #unsettled dt, #unsettled dd')]
            .filter(e => e.checkVisibility()).map(e => e.textContent);
        status.payments = kept;
        show();
        return seen;
END
    my @pending = ('Pending', '2', 'Oldest', '40 sec');
    my @refunding = ('Being given back', '0', 'Oldest', '–');

    is_deeply $shown->({}), [ @pending, @refunding ],
              'what is not settled is listed';
    is_deeply $shown->({ age => 4000, deposits => 0 }),
              [ @pending, @refunding ], 'as what is of now';
    is_deeply $shown->({ deposits => 3 }),
              [ @pending, 'Waiting for a deposit', '3', @refunding ],
              'deposits that are waited for stand beside it';

    my ($old, @rest) = @{ $shown->({ age => 6000 }) };

    like $old, qr/^no news since \d\d:\d\d:\d\d$/, 'what is old is told as such';
    is_deeply \@rest, [ @pending, @refunding ], 'and shown all the same';
    is $shown->({ age => undef })->[0], 'no news yet', 'or as never known';
}

# An older answer that comes last would empty the history.
sub questions {
    my $overlap = $Browser->script(<<'END');
        performance.clearResourceTimings();
        const asked = [1, 2, 3, 4, 5].map(ask);
        return Promise.all(asked).then(() => new Promise(done => {
            const look = () => {
                const all = performance.getEntriesByType('resource');
                if (all.length < 2) {
                    setTimeout(look, 100);
                    return;
                }
                done(all.filter((a, i) => all.some((b, k) => k < i
                    && a.startTime < b.responseEnd
                    && b.startTime < a.responseEnd)).length);
            };
            look();
        }));
END
    is $overlap, 0, 'a question waits for the answer to the one before';
}

sub no_use {
    for (['refused', 'refused with 403'], ['garbled', 'unreadable answers']) {
        my ($how, $why) = @$_;

        broken($how);
        eventually { $Browser->text('#live') eq $why }
                   "a page whose question is $how says so";
        like $Browser->text('#stale'),
             qr/^Since \d\d:\d\d:\d\d: $why\. What is shown is of then\.$/,
             'and of when it is what it shows';
        $Browser->console;

        broken();
        eventually { $Browser->text('#live') eq 'live' }
                   'and has gone on asking';
        eventually { $Browser->text('#stale') eq '' } 'then nothing is wrong';
    }

    $Browser->console;
}

sub phone {
    my ($language) = @_;
    my $phone = Browser->start(language => $language, phone => 1,
                               width => 360, height => 740);

    $phone->go($Page);
    eventually { $phone->script('return document.querySelectorAll('
                                . '"#strip li, #events li, #routes tbody tr")'
                                . '.length') > 3 }
               "a phone in $language shows the page";
    is $phone->script('return document.documentElement.lang'), $language,
       'in the language of its user';
    is $phone->script('return innerWidth'), 360, 'on a narrow screen';
    cmp_ok $phone->script('return document.documentElement.scrollWidth'), '<=',
           360, 'without anything beside it';
    is_deeply cut_off($phone), [], 'and nothing that is cut off';
    is_deeply $phone->script(<<'END'), [], 'what a finger must meet is large';
        return [...document.querySelectorAll('button, input, select')]
            .filter(e => e.checkVisibility())
            .map(e => [e.id, e.getBoundingClientRect()])
            .filter(([, r]) => r.width < 44 || r.height < 44)
            .map(([id, r]) => `${id} ${r.width} x ${r.height}`);
END
    large_numbers($phone);
    is_deeply cut_off($phone), [], 'large numbers have room';
    is_deeply [ $phone->console ], [], 'nor to complain of';
    $phone->stop;
}

sub cut_off {
    return $_[0]->script(<<'END');
        return [...document.querySelectorAll('body *')]
            .filter(e => e.checkVisibility()
                && e.getBoundingClientRect().right > innerWidth + 0.5)
            .map(e => `${e.tagName} ${e.id} ${e.className} ${e.innerText}`);
END
}

# What a page would show on a very large and very bad day.
sub large_numbers {
    my ($browser) = @_;

    $browser->script(<<'END');
        const day = new Date(Date.now() - 86400e3).toISOString();

        asking = true;      // what is shown stays
        status.time = new Date(Date.parse(status.time) + 1000).toISOString();
        Object.assign(status.queue, { waiting: 12345678, active: 9876543,
            capacity: 10000000, serving: 123456789012, rate: 1000000,
            paused: true, seenAt: day });
        Object.assign(status.breaker, { state: 'half_open', since: day,
            notPermitted: 123456789, events: status.breaker.events
                .map(e => ({ ...e, at: day, reason: 'half_open_ended' })) });
        Object.assign(status.payments, { pending: 123456, pendingAge: 1e6,
                                         deposits: 123456, seenAt: day });
        for (const s of status.schedules) {
            Object.assign(s, { totalSeat: 12345678, sold: 12000000,
                               held: 345678, free: 0,
                               concertTitle: 'Ohnezwischenraum'.repeat(6) });
        }
        for (const l of status.lanes) {
            Object.assign(l, { down: true, busy: l.lanes, waiting: 12345678,
                calls: l.calls + 1234567, failed: 12345678,
                refused: 123456789 });
        }
        for (const r of Object.values(status.routes)) {
            r['4xx'] += 1234567;
            r['5xx'] += 1234567;
            r.buckets = r.buckets.map(n => n + 1234567);
        }
        keep(sample(status));
        chosen = status.schedules[0].scheduleId;
        show();
        say('warn', () => fill(text.unsure, { what: text.silent }));
END
}

# WCAG 2.2: all text has a contrast of 4.5 to 1; a focus can be seen; who wants
# no motion gets none.
sub looks {
    my $media = sub { $Browser->devtools('Emulation.setEmulatedMedia',
        features => [ map { { name => $_->[0], value => $_->[1] } } @_ ]) };

    for my $scheme (qw( light dark )) {
        $media->(['prefers-color-scheme', $scheme],
                 ['prefers-reduced-motion', 'reduce']);
        is_deeply $Browser->script(<<'END'), [], "all can be read, if $scheme";
            const pen = document.createElement('canvas')
                        .getContext('2d', { willReadFrequently: true });
            const rgba = color => {
                pen.clearRect(0, 0, 1, 1);
                pen.fillStyle = color;
                pen.fillRect(0, 0, 1, 1);
                return [...pen.getImageData(0, 0, 1, 1).data];
            };
            const light = color => {
                const [r, g, b] = rgba(color).map(v => v / 255).map(
                    v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                return .2126 * r + .7152 * g + .0722 * b + .05;
            };
            const behind = e => {
                const color = getComputedStyle(e).backgroundColor;
                return rgba(color)[3] || !e.parentElement ? color
                                                 : behind(e.parentElement);
            };
            const low = (name, e) => {
                const a = light(getComputedStyle(e).color);
                const b = light(behind(e));
                const contrast = Math.max(a, b) / Math.min(a, b);
                return contrast < 4.5 ? [`${name}: ${contrast.toFixed(2)}`] : [];
            };
            const bad = [...document.querySelectorAll('body *')].filter(
                e => e.checkVisibility() && [...e.childNodes].some(
                    n => n.nodeType === 3 && n.textContent.trim()))
                .flatMap(e => low(`${e.tagName} ${e.id} ${e.className}`, e));
            const chip = document.querySelector('main')
                         .appendChild(document.createElement('p'));
            for (const name of ['chip', 'banner'].flatMap(
                 kind => ['', 'good', 'warn', 'bad'].map(c => `${kind} ${c}`))) {
                chip.className = name;
                bad.push(...low(name, chip));
            }
            chip.remove();
            const cell = document.querySelector('#strip button');
            for (let share = 0; share <= 1; share += .1) {
                cell.style.setProperty('--share', share);
                bad.push(...low(`sold ${share}`, cell));
            }
            return bad;
END
    }

    is_deeply $Browser->script(<<'END'), [], 'nothing moves for its looks';
        return [...document.querySelectorAll('*')].filter(
            e => getComputedStyle(e).transitionDuration !== '0s'
                 && getComputedStyle(e).transitionProperty !== 'none')
            .map(e => `${e.tagName} ${e.id}`);
END
    $media->();

    # from the first to the last, by the key
    eventually { $Browser->text('#live') eq 'live' } 'all can be used';
    $Browser->script('asking = true; answered = Infinity; age();'
                     . 'document.activeElement.blur(); scrollTo(0, 0)');
    my (%focus, @without);

    for (1 .. 200) {
        $Browser->press("\x{E004}");
        my ($id, $outline) = @{ $Browser->script(<<'END') };
            const e = document.activeElement;
            return [e === document.body ? '' : e.id || e.innerText,
                    getComputedStyle(e).outlineStyle];
END

        # the browser's own
        next if $id eq '';

        last if $focus{$id}++;
        push @without, $id if $outline eq 'none';
    }

    is_deeply \@without, [], 'where the keyboard is can be seen';
    ok $focus{$_}, "it gets to $_"
        for qw( language pause capacity set-capacity events state set-state
                payment reason set-refund );
    is_deeply $Browser->script('return ["stale", "said"].map(id => document'
        . '.getElementById(id).closest("[role]").role)'),
        [qw( alert status )], 'what is told is read out';
    $Browser->script('asking = false; answered = Date.now()');
}

# And a server that comes back has counted from the beginning.
sub no_answer {
    # a question that meets the end of the server may be told of another error
    $Browser->script('asking = true');
    $Nginx->stop;
    $Browser->script('asking = false');

    eventually { $Browser->text('#live') =~ /no answer/ }
               'a page without a server says so';
    like $Browser->text('#stale'),
         qr/^Since \d\d:\d\d:\d\d: no answer\. What is shown is of then\.$/,
         'and of when it is what it shows';
    ok $Browser->script('return document.getElementById("pause").disabled'),
       'its switches are off';
    eventually { $Browser->script('return getComputedStyle(document'
                                  . '.querySelector("main")).filter')
                 eq 'grayscale(1)' } 'and it is grey';

    $Nginx->start(Concert::configuration($Nginx, %Nginx));
    eventually { $Browser->text('#live') =~ /live/ } 'it comes back by itself';
    eventually {
        $Ann->balance;
        number('rate') > 0;
    } 'and counts anew';
    is scalar(grep { /^SEVERE/ && !/ERR_CONNECTION_REFUSED/ }
                   $Browser->console), 0, 'without an error of its own';
    $Nginx->stop;
}

# /status goes on without Redis, and tells what was so before.
sub outage {
    my ($path) = $ENV{TEST_NGINX_CONCERT_REDIS} =~ m{^unix:(/\S+)};
    my $proxy = Proxy->new($path);
    my $name = 'outage-' . stranger();
    my $nginx = nginx(http => "concert_timeout 3s;\n"
                              . 'concert_redis unix:' . $proxy->path . ';',
                      queue => "name=$name");
    my $chips = sub {
        return $Browser->script('return [...document.querySelectorAll('
                                . '"[data-news=queue]")]'
                                . '.filter(e => e.checkVisibility())'
                                . '.map(e => e.textContent)');
    };

    $Browser->go("http://127.0.0.1:$nginx->{port}/ops/");
    $nginx->client(stranger())->enter;
    eventually { shown('queue.active') eq '1' } 'the queue is shown';
    eventually { !@{ $chips->() } } 'as it is';
    eventually { seen('#no-cards') && !seen('#breaker') }
               'and that there is no gateway';

    $proxy->hold(777);
    $Browser->type('#capacity', 777);
    order('#set-capacity', 'yes');
    eventually { $Browser->text('#said') =~
                 /^Not known whether it was done \(504 timeout / }
               'of an order that Redis does not answer nothing is known';
    is written('capacity'), 777, 'it can be sent again';
    $proxy->release;
    eventually { shown('queue.capacity') eq '777' } 'as here it was done';

    $proxy->freeze;
    eventually { @{ $chips->() } == 3 }
               'what was before Redis went away is told as old';
    like $_, qr/^no news since \d\d:\d\d:\d\d$/, 'wherever it stands'
        for @{ $chips->() };
    is shown('queue.active'), '1', 'the last that was known is shown';
    eventually { $Browser->text('#live') eq 'live' } 'all else is of now';
    $Browser->click('#language');
    like $chips->()->[0], qr/^\d\d:\d\d:\d\d부터 소식 없음$/, 'in Korean as well';

    $proxy->thaw;
    eventually { !@{ $chips->() } } 'when Redis is back, it is of now again';
    $Browser->click('#language');
    $nginx->stop;
}

# Of a time of the API, seconds since the epoch.
sub seconds_of {
    my ($time) = @_;
    return sql("select extract(epoch from '$time'::timestamptz)");
}
