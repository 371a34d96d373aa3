# How the waiting queue moves: who comes first goes in first, and never more
# are in than there is room for.

use strict;
use warnings;

use List::Util qw( shuffle );
use Test::More;
use Time::HiRes qw( sleep );

use Concert;

sub strangers {
    my ($nginx, $n) = @_;

    return map { $nginx->client(stranger()) } 1 .. $n;
}

sub positions {
    return [ map { $_->token->json->{position} } @_ ];
}

sub count_active {
    my ($nginx, @users) = @_;

    return grep { $_->{body} eq 'true' }
           $nginx->together(map { $_->bytes_of(GET => '/api/token/status/'
                                                      . $_->id) } @users);
}

{
    my $nginx = nginx(queue => 'capacity=3');
    my @users = strangers($nginx, 8);

    is_deeply [ map { $_->enter->json->{status} } @users ],
              [ ('ACTIVE') x 3, ('WAITING') x 5 ],
              'as many are active as the capacity says';
    is_deeply positions(@users), [ 0, 0, 0, 1 .. 5 ],
              'who waits is numbered in the order of arrival';

    $users[1]->leave;
    ok $users[3]->is_active,
       'the place of who leaves is free at once, for the first who waits';
    is_deeply positions(@users[4 .. 7]), [ 1 .. 4 ],
              'when one goes in all others move up by one';
    is scalar count_active($nginx, @users), 3,
       'one goes in for one who leaves';

    $users[5]->leave;
    is scalar count_active($nginx, @users), 3,
       'nobody goes in for one who leaves without having been in';

    $users[0]->leave;
    $users[2]->leave;
    ok $users[4]->is_active, 'whoever is next goes in when a place comes free';
    ok $users[6]->is_active, 'who has left the queue is passed over';

    $users[5]->enter;
    is $users[5]->token->json->{status}, 'WAITING',
       'who has left comes back at the end';
    cmp_ok $users[5]->token->json->{position}, '>',
           $users[7]->token->json->{position},
           'who has left comes back behind those who stayed';

    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=1');
    my @users = shuffle strangers($nginx, 50);
    my @served;

    $_->enter for @users;

    for my $user (@users) {
        push @served, $user->id if $user->is_active;
        $user->leave;
    }

    is_deeply \@served, [ map { $_->id } @users ],
              '50 users go in in the order of their arrival';

    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=1', workers => 2);
    my @users = shuffle strangers($nginx, 40);

    $_->enter for @users;

    is_deeply positions(@users), [ 0 .. 39 ],
              'all workers see one order of arrival';

    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=10', workers => 2);
    my @users = strangers($nginx, 40);

    my @tokens = map { $_->json }
                 $nginx->together(map { $_->enter_request } @users);

    is scalar(grep { $_->{status} eq 'ACTIVE' } @tokens), 10,
       'of 40 who enter at once as many are let in as there is room for';
    is_deeply [ sort { $a <=> $b } map { $_->{position} }
                grep { $_->{status} eq 'WAITING' } @tokens ], [ 1 .. 30 ],
              '30 who wait at once have 30 different places';

    my @most;

    for (1 .. 5) {
        my @active = grep { $_->is_active } @users;
        my @come = strangers($nginx, 5);

        $nginx->together(
            shuffle((map { $_->bytes_of(DELETE => '/api/token/' . $_->id) }
                         @active),
                    map { $_->enter_request } @come));

        push @users, @come;
        push @most, scalar count_active($nginx, @users);
    }

    is_deeply \@most, [ (10) x 5 ],
              'never more, and while some wait never fewer, than the capacity'
              . ' are active when many come and go at once';

    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=5');
    my $user = $nginx->client(stranger());
    my @others = strangers($nginx, 12);
    my @seen;

    $_->enter for @others;
    $user->enter;

    for my $other (@others) {
        push @seen, $user->token->json->{position};
        $other->leave;
        $nginx->client(stranger())->enter;
        $user->enter;
    }

    push @seen, $user->token->json->{position};

    is_deeply \@seen, [ sort { $b <=> $a } @seen ], 'a position never grows';
    is $seen[-1], 0, 'a position ends with 0, when one goes in';

    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=1 ttl=10m');
    my ($first) = strangers($nginx, 1);

    my $ends = $first->enter->json->{expiresAt};
    my $left = sql("select extract(epoch from '$ends'::timestamptz
                                              - clock_timestamp())");

    cmp_ok $left, '<=', 600, 'a token does not live longer than its ttl';
    cmp_ok $left, '>', 500, 'a token lives as long as its ttl';

    is $first->enter->json->{expiresAt}, $ends,
       'entering again does not make a token live longer';
    is $first->token->json->{expiresAt}, $ends,
       'looking at a token does not make it live longer';

    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=1 ttl=4s');
    my ($first, $second, $third) = strangers($nginx, 3);

    $_->enter for $first, $second, $third;

    eventually { $second->is_active }
               'when a token has ended the next goes in';
    ok !$first->is_active, 'who was in for too long may not go on';
    is_problem $first->token, 'token_not_found',
               'who was in for too long has no token';

    eventually { $third->is_active } 'when that has ended the next but one';
    is $first->enter->status, 200, 'who was in for too long may enter again';

    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=1 ttl=1s');
    my ($first, $second) = strangers($nginx, 2);

    $_->enter for $first, $second;

    eventually { $nginx->metric('concert_queue_serving') == 2 }
               'the next goes in though nobody asks';

    $nginx->stop;
}

{
    my $queue = 'concert_queue capacity=2 name=shared-' . stranger() . ';';
    my $one = nginx(http => $queue);
    my $two = nginx(http => $queue);
    my @ids = map { stranger() } 1 .. 6;

    my @tokens = map { (($_ % 2) ? $one : $two)->client($ids[$_])->enter->json }
                 0 .. 5;

    is_deeply [ map { $_->{position} } @tokens ], [ 0, 0, 1, 2, 3, 4 ],
              'two instances see one order of arrival';

    $two->client($ids[0])->leave;
    ok $one->client($ids[2])->is_active,
       'a place that comes free in one instance is taken in the other';
    ok !$one->client($ids[3])->is_active,
       'two instances let in no more than one does';

    $one->stop;
    $two->stop;
}

# Both instances let people in at the same moments, as their jobs and every
# request that ends a token do.
{
    my $queue = 'concert_queue capacity=3 name=both-' . stranger() . ';';
    my @nginx = map { nginx(http => $queue) } 1 .. 2;
    my @ids = map { stranger() } 1 .. 60;
    my (@came, @most);

    $nginx[$_ % 2]->client($ids[$_])->enter for 0 .. $#ids;

    my @left = @ids;
    my $tries = 0;

    while (@left && $tries++ < 1000) {
        my @active = grep { $nginx[rand 2]->client($_)->is_active }
                          @left[0 .. ($#left < 4 ? $#left : 4)];
        my %gone = map { $_ => 1 } @active;

        push @most, scalar @active if @active > 3;
        push @came, @active;
        @left = grep { !$gone{$_} } @left;

        my @sockets = map {
            my $id = $_;
            map { $_->begin($_->client($id)
                             ->bytes_of(DELETE => "/api/token/$id")) } @nginx
        } @active;

        Concert::Answer->new($_) for @sockets;
    }

    is_deeply \@came, \@ids,
              'two instances that let people in lose nobody and keep the order';
    is_deeply \@most, [], 'and never let in too many';

    $_->stop for @nginx;
}

{
    my $nginx = nginx(queue => 'capacity=1');
    my $user = $nginx->client(stranger());

    my @answers = $nginx->together(map { $user->enter_request } 1 .. 10);

    is_deeply [ map { $_->{status} } @answers ], [ (200) x 10 ],
              'one may enter ten times at once';

    $user->leave;
    my $next = $nginx->client(stranger());
    is $next->enter->json->{status}, 'ACTIVE',
       'who has entered ten times has one place';

    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=1');
    my ($first, $second) = strangers($nginx, 2);

    $first->enter;
    my $answer = $second->enter;

    is $answer->header('Retry-After'), $answer->json->{nextPoll},
       'nextPoll is Retry-After, too';

    $nginx->stop;
}

done_testing;
