# Streams of events: whoever waits is told where it stands, and when it is in.

use strict;
use warnings;

use Test::More;

use Concert;
use Events;
use H2;

sub watch {
    my ($nginx, $user, %headers) = @_;
    return Events->open($nginx, "/api/token/events/" . $user->id, %headers);
}

sub strangers { my ($nginx, $n) = @_;
                return map { $nginx->client(stranger()) } 1 .. $n }

# The position of the next event that tells one.
sub position { return $_[0]->next->{data}{position} }

{
    my $nginx = nginx(queue => 'capacity=1 poll=100ms ttl=30s');
    my ($ann, $ben, $cy) = strangers($nginx, 3);

    $_->enter for $ann, $ben, $cy;

    my $stream = watch($nginx, $cy);

    is $stream->status, 200, 'whoever waits can watch';
    is $stream->header('Content-Type'), 'text/event-stream',
       'a stream of events';
    is $stream->header('X-Accel-Buffering'), 'no', 'that no proxy keeps back';

    my $event = $stream->next;

    is $event->{event}, 'position', 'the first event is the position';
    is $event->{id}, 2, 'which is its id';
    is_deeply [ sort keys %{ $event->{data} } ],
              [ sort keys %{ $cy->token->json } ], 'its data are the token';
    is $event->{data}{status}, 'WAITING', 'which waits';

    is $nginx->metric('concert_event_streams'), 1, 'a stream is counted';

    $ann->leave;
    $ben->token;
    is position($stream), 1, 'a position that changes is told';

    $ben->leave;
    $event = $stream->next;
    is $event->{event}, 'active', 'who is let in is told';
    is $event->{data}{status}, 'ACTIVE', 'with the token';
    ok $event->{data}{expiresAt}, 'and until when';
    ok $stream->ended, 'and that is the end';
    eventually { $nginx->metric('concert_queue_called') == 0 }
               'who was told has come';
    is $nginx->metric('concert_event_streams'), 0, 'no stream is left';

    $stream = watch($nginx, $cy);
    is $stream->next->{event}, 'active', 'who is in is told so at once';
    ok $stream->ended, 'and that is the end';

    is watch($nginx, $cy, 'Last-Event-ID' => $event->{id})->status, 204,
       'who was told so and comes again is told that there is no more';
    is_problem $nginx->client(stranger())->get('/api/token/events/1'),
               'identity_mismatch', 'nobody watches for another';
    my $nobody = stranger();
    is_problem $nginx->client($nobody)->get("/api/token/events/$nobody"),
               'token_not_found', 'who is not in the queue has nothing to see';
    is_problem $nginx->nobody->get('/api/token/events/x'), 'invalid_request',
               'a user is a number';
    is $nginx->client($cy->id)->ask(HEAD => '/api/token/events/' . $cy->id)
       ->status, 200, 'HEAD is answered';
    $nginx->stop;
}

# many, in the order of their tickets
{
    my $nginx = nginx(queue => 'capacity=1 poll=100ms', workers => 2);
    my ($first, @users) = strangers($nginx, 60);

    $_->enter for $first, @users;

    my @streams = map { watch($nginx, $_) } @users;
    is_deeply [ map { position($_) } @streams ], [ 1 .. @users ],
              'each of many sees its own position';

    my @order;
    $first->leave;

    for my $i (0 .. $#users) {
        my $event;
        do { $event = $streams[$i]->next }
            while ($event->{event} // '') eq 'position';

        push @order, $i if ($event->{event} // '') eq 'active'
                           && $streams[$i]->ended;
        $users[$i]->leave;
    }

    is_deeply \@order, [ 0 .. $#users ], 'and is let in in its turn';
    $nginx->stop;
}

# ends
{
    my $nginx = nginx(queue => 'capacity=1 poll=100ms');
    my ($ann, $ben, $cy, $dee) = strangers($nginx, 4);

    $_->enter for $ann, $ben, $cy, $dee;

    my $stream = watch($nginx, $ben);
    $stream->next;
    $ben->leave;
    is $stream->next->{event}, 'end', 'who leaves is told that it is over';
    ok $stream->ended, 'and that is the end';

    $_ = watch($nginx, $cy) for my ($one, $two);
    $_->next for $one, $two;
    $one->close;
    eventually { $nginx->metric('concert_event_streams') == 1 }
               'who goes away is no stream any more';
    $ann->leave;
    my $event;
    do { $event = $two->next } while ($event->{event} // '') eq 'position';
    is $event->{event}, 'active', 'another window of the same user goes on';

    # a reader that does not read, while others are told
    my $slow = watch($nginx, $dee);
    is $nginx->client(stranger())->enter->status, 200, 'others go on';
    $slow->close;
    eventually { $nginx->metric('concert_event_streams') == 0 }
               'and all that go are gone';
    $nginx->stop;
}

# a worker that drains ends its streams
{
    my $nginx = nginx(queue => 'capacity=1');
    my ($ann, @users) = strangers($nginx, 31);

    $_->enter for $ann, @users;
    my @streams = map { watch($nginx, $_) } @users;
    $_->next for @streams;

    kill HUP => $nginx->{pid};
    my @retry = map { $_->next->{retry} } @streams;

    is scalar(grep { defined && $_ >= 500 && $_ <= 5000 } @retry), 30,
       'a reload tells each stream when to come again';
    cmp_ok scalar(keys %{ { map { $_ => 1 } @retry } }), '>', 5,
           'not all at once';
    is scalar(grep { $_->ended } @streams), 30, 'and ends it';
    eventually { grep { /exited with code 0/ } $nginx->log }
               'so that the old worker goes';
    is watch($nginx, $users[4])->next->{data}{position}, 5,
       'the new one goes on where the old one was';
    $nginx->stop;
}

# clients that take nothing
{
    my $path = Concert::new_root() . '/socket';
    my $nginx = nginx(queue => 'capacity=1 poll=100ms', server =>
                      "listen unix:$path http2; send_timeout 2s;");
    my ($ann, $ben, $cy) = strangers($nginx, 3);
    my %watches;

    $_->enter for $ann, $ben, $cy;

    for my $user ($ben, $cy) {
        my $h2 = H2->new($path, window => 0);
        my $stream = $h2->ask($user->bytes_of(
                         GET => '/api/token/events/' . $user->id));

        is $h2->begins($stream), 200, 'a client that takes nothing may watch';
        $watches{ $user->id } = [ $h2, $stream ];
    }

    $ann->leave;
    eventually { $nginx->metric('concert_event_streams') == 0 }
               'a stream that is not taken is given up';

    kill HUP => $nginx->{pid};
    eventually { grep { /exited with code 0/ } $nginx->log }
               'so that none keeps a worker that drains';
    $nginx->stop;
}

# a reload, with such a client
{
    my $path = Concert::new_root() . '/socket';
    my $nginx = nginx(queue => 'capacity=1 poll=100ms', server =>
                      "listen unix:$path http2; send_timeout 60s;");
    my ($ann, $ben) = strangers($nginx, 2);

    $_->enter for $ann, $ben;

    my $h2 = H2->new($path, window => 0);
    my $stream = $h2->ask($ben->bytes_of(
                     GET => '/api/token/events/' . $ben->id));

    $h2->begins($stream);
    kill HUP => $nginx->{pid};
    eventually { grep { /gracefully shutting down/ } $nginx->log }
               'a worker drains';
    sleep 2;
    $h2->widen($stream, 1 << 16);
    is scalar(() = $h2->answer($stream)->{body} =~ /^retry: /mg), 1,
       'and says once when to come again';
    eventually { grep { /exited with code 0/ } $nginx->log } 'and goes';
    $nginx->stop;
}

# two instances of nginx
{
    my $queue = 'concert_queue capacity=1 poll=100ms name=events-'
                . stranger() . ';';
    my @nginx = map { nginx(http => $queue) } 1 .. 2;
    my $ann = $nginx[0]->client(stranger());
    my $ben = $nginx[1]->client(stranger());

    $_->enter for $ann, $ben;
    my $stream = watch($nginx[1], $ben);
    is position($stream), 1, 'who waits at one instance';
    $ann->leave;
    is $stream->next->{event}, 'active',
       'is told of a place that came free at another';

    my $cy = $nginx[1]->client(stranger());
    $cy->enter;
    $stream = watch($nginx[1], $cy);
    $stream->next;
    $nginx[0]->client($cy->id)->leave;
    is $stream->next->{event}, 'end', 'and of leaving at another';
    $_->stop for @nginx;
}

done_testing;
