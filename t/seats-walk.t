# Walks through the free seats of a schedule, from Link to Link.

use strict;
use warnings;

use List::Util qw( uniq );
use Test::More;

use Concert;

my $nginx = nginx();

sub walker {
    my $walker = $nginx->client(stranger());
    $walker->enter;

    return $walker;
}

# The pages, each a list of seats, that lie behind a path; $between is called
# with each page after it was read.
sub pages {
    my ($walker, $path, $between) = @_;

    my @pages;

    while (defined $path) {
        my $answer = $walker->get($path);

        if ($answer->status != 200 || @pages > 1000) {
            diag("$path: ", $answer->status, ' ', $answer->body);
            return [];
        }

        push @pages, [ map { $_->{seatId} } @{ $answer->json } ];
        $between->($pages[-1]) if $between;
        $path = $answer->next;
    }

    return \@pages;
}

sub walk {
    return [ map { @$_ } @{ pages(@_) } ];
}

sub in_order {
    return [ sort { $a <=> $b } @{ $_[0] } ];
}

# How often a walk goes on with a lower seat.
sub wraps {
    my ($seats) = @_;

    return scalar grep { $seats->[$_] < $seats->[$_ - 1] } 1 .. $#$seats;
}

{
    my $schedule = schedule(seats => 50);
    my (@orders, @wraps, @sizes);

    for (1 .. 8) {
        my $pages = pages(walker(), "/api/concerts/seats/$schedule?size=7");

        push @orders, in_order([ map { @$_ } @$pages ]);
        push @wraps, wraps([ map { @$_ } @$pages ]);
        push @sizes, [ map { scalar @$_ } @$pages ];
    }

    is_deeply \@orders, [ ([ 1 .. 50 ]) x 8 ],
              'a walk meets every seat once, wherever it begins';
    is scalar(grep { $_ > 1 } @wraps), 0, 'a walk goes around at most once';
    is_deeply \@sizes, [ ([ (7) x 7, 1 ]) x 8 ],
              'every page of a walk but the last is full';
}

{
    my $schedule = schedule(seats => 1000);
    my @first = map {
        walker()->get("/api/concerts/seats/$schedule?size=1")
                ->json->[0]{seatId}
    } 1 .. 20;

    cmp_ok scalar(uniq @first), '>', 10,
           'different users begin at different places';
    cmp_ok scalar(uniq map { int $_ / 100 } @first), '>', 3,
           'the places where users begin lie far apart';

    my $walker = walker();
    my @again = map {
        $walker->get("/api/concerts/seats/$schedule")->json->[0]{seatId}
    } 1 .. 5;

    is scalar(uniq @again), 1, 'one user begins at the same place each time';
}

{
    my $schedule = schedule(seats => 100);
    hold(user(), $schedule, 1 .. 30);
    hold(user(), $schedule, map { 2 * $_ } 20 .. 49);

    is_deeply in_order(walk(walker(), "/api/concerts/seats/$schedule?size=9")),
              [ 31 .. 39, (map { 2 * $_ + 1 } 20 .. 49), 100 ],
              'a walk meets every free seat once, and no other';
}

{
    my $schedule = schedule(seats => 50);

    is_deeply walk(walker(), "/api/concerts/seats/$schedule?size=7&after=0"),
              [ 1 .. 50 ], 'a walk from after=0 meets all seats in order';
    is_deeply walk(walker(), "/api/concerts/seats/$schedule?size=7&after=20"),
              [ 21 .. 50 ], 'a walk from a plain after never wraps';
    is_deeply in_order(walk(walker(),
                            "/api/concerts/seats/$schedule?size=50")),
              [ 1 .. 50 ], 'a page as large as the schedule has all its seats';
    is scalar @{ pages(walker(), "/api/concerts/seats/$schedule?size=50") }, 1,
       'a page as large as the schedule is the only one';
    is scalar @{ pages(walker(), "/api/concerts/seats/$schedule?size=49") }, 2,
       'a page that lacks one seat is followed by another';
}

# Wherever the walk begins, and wherever its pages end.
{
    my @wrong;

    for my $seats (1 .. 5) {
        my $schedule = schedule(seats => $seats);

        for my $size (1 .. $seats + 1) {
            for (1 .. 4) {
                my $walk = walk(walker(),
                                "/api/concerts/seats/$schedule?size=$size");
                push @wrong, "$seats by $size: @$walk"
                    if "@{ in_order($walk) }" ne join(' ', 1 .. $seats)
                       || wraps($walk) > 1;
            }
        }
    }

    is_deeply \@wrong, [],
              'walks through small schedules meet every seat once';
}

{
    my $schedule = schedule(seats => 60);
    my $walker = walker();
    my (@taken, @met);

    # holds the last seat of each page and the seats after it, before the next
    # page is asked for: those that Links name among them
    my $walk = walk($walker, "/api/concerts/seats/$schedule?size=10", sub {
        my ($page) = @_;

        push @met, @$page;

        my $last = $page->[-1];
        my @seats = grep { my $seat = $_; !grep { $_ == $seat } @taken }
                    ($last, $last % 60 + 1);

        hold(user(), $schedule, @seats);
        push @taken, @seats;
    });

    my %taken = map { $_ => 1 } @taken;
    my %count;
    $count{$_}++ for @$walk;

    is_deeply [ grep { $_ > 1 } values %count ], [],
              'no seat is met twice while others take seats';
    is_deeply [ grep { !$taken{$_} && !$count{$_} } 1 .. 60 ], [],
              'no seat that stays free is missed while others take seats';
}

{
    my $schedule = schedule(seats => 20);
    my $walker = walker();
    my $first = $walker->get("/api/concerts/seats/$schedule?size=5");

    # everything is sold but the first page and one seat behind it
    my %seen = map { $_->{seatId} => 1 } @{ $first->json };
    my @rest = grep { !$seen{$_} } 1 .. 20;
    my $kept = pop @rest;
    hold(user(), $schedule, @rest);

    is_deeply walk($walker, $first->next), [ $kept ],
              'a Link still leads to what stayed free when most was taken';

    hold(user(), $schedule, $kept);

    is_deeply walk($walker, $first->next), [],
              'a Link leads to an empty page when nothing is free behind it';
}

{
    my $schedule = schedule(seats => 40);
    my $walker = walker();
    my $start = $walker->get("/api/concerts/seats/$schedule?size=1")
                       ->json->[0]{seatId};

    hold(user(), $schedule, $start);

    my $walk = walk($walker, "/api/concerts/seats/$schedule?size=6");

    is_deeply in_order($walk), [ grep { $_ != $start } 1 .. 40 ],
              'a walk that begins at a taken seat meets all others';
}

{
    my $schedule = schedule(seats => 40);
    my $ann = walker();
    my $bob = walker();
    my $page = $ann->get("/api/concerts/seats/$schedule?size=6");
    my @rest = map { $_->{seatId} } @{ $page->json };

    push @rest, @{ walk($bob, $page->next) };

    is_deeply in_order(\@rest), [ 1 .. 40 ],
              'a Link leads on the same way whoever follows it';
}

{
    my $schedule = schedule(seats => 0);

    is_deeply walk(walker(), "/api/concerts/seats/$schedule"), [],
              'a schedule without seats has an empty page';
}

$nginx->stop;

done_testing;
