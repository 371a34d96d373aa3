# Walks through the other lists, from Link to Link.

use strict;
use warnings;

use Test::More;

use Concert;

my $nginx = nginx();

# All items that lie behind a path, and how many each page has.
sub walk {
    my ($client, $path) = @_;

    my (@items, @sizes);

    while (defined $path && @sizes < 100) {
        my $answer = $client->get($path);
        my $page = $answer->json;

        push @items, @$page;
        push @sizes, scalar @$page;
        $path = $answer->next;
    }

    return (\@items, \@sizes);
}

my $ann = $nginx->client(user());
$ann->enter;

{
    my $first = concert();
    my @concerts = ($first, split /\n/,
        sql("select concert.add_concert('Concert ' || i)
             from generate_series(1, 104) i"));
    my $after = $first - 1;

    my ($items, $sizes) = walk($ann, "/api/concerts?size=50&after=$after");
    is_deeply [ map { $_->{concertId} } @$items ], [ map { 0 + $_ } @concerts ],
              'a walk through concerts meets each once';
    is_deeply $sizes, [ 50, 50, 5 ],
              'pages of concerts have the size asked for';

    ($items, $sizes) = walk($ann, "/api/concerts?after=$after");
    is_deeply $sizes, [ 100, 5 ], 'a page of concerts has 100 by itself';

    ($items, $sizes) = walk($ann, "/api/concerts?size=105&after=$after");
    is_deeply $sizes, [ 105 ],
              'a page that is just large enough is the only one';
}

{
    my $concert = concert();
    my @schedules = split /\n/,
        sql("select concert.add_schedule($concert,
                                         now() + i * interval '1 day', 1, 1)
             from generate_series(-2, 9) i");

    my ($items, $sizes) = walk($ann,
                               "/api/concerts/schedules/$concert?size=4");
    is_deeply [ map { $_->{scheduleId} } @$items ],
              [ map { 0 + $_ } @schedules[3 .. 11] ],
              'a walk through schedules meets each that is to come once';
    is_deeply $sizes, [ 4, 4, 1 ],
              'pages of schedules have the size asked for';
}

{
    my $schedule = schedule(seats => 9);
    my $user = user();
    my $bob = $nginx->client($user);
    my @held = map { hold($user, $schedule, $_) } 1 .. 9;

    my ($items, $sizes) = walk($bob, '/api/reservations?size=4');
    is_deeply [ map { $_->{reservationId} } @$items ],
              [ reverse map { 0 + $_ } @held ],
              'a walk through reservations meets each once, the newest first';
    is_deeply $sizes, [ 4, 4, 1 ],
              'pages of reservations have the size asked for';

    my $page = $bob->get('/api/reservations?size=4');
    hold($user, schedule(), 1);

    ($items) = walk($bob, $page->next);
    is_deeply [ map { $_->{reservationId} } @$items ],
              [ reverse map { 0 + $_ } @held[0 .. 4] ],
              'a reservation that is made meanwhile moves no page';
}

$nginx->stop;

done_testing;
