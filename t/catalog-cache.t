# Pages of concerts and schedules that are sent from memory for a time, and
# their ETags.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw( sleep time );

use Concert;
use Proxy;

# of a page that does not fit: titles, and how long they may be
use constant { MANY => 140, LONGEST => 500 };

my ($Host) = $ENV{TEST_NGINX_CONCERT_PG} =~ /\bhost=(\S+)/;
my ($Port) = $ENV{TEST_NGINX_CONCERT_PG} =~ /\bport=(\d+)/;

# An nginx that keeps pages for a time, and a user who is in.
sub keeping {
    my ($time, %is) = @_;

    my $http = delete $is{http} // '';
    my $nginx = nginx(http => "concert_catalog_cache $time;\n$http", %is);
    my $ann = $nginx->client(stranger());

    $ann->enter;
    return ($nginx, $ann);
}

sub rename_concert {
    my ($concert, $title) = @_;

    sql("update concert.concerts set title = '$title'
         where concert_id = $concert");
}

# A page that begins with a concert.
sub from { my ($concert, $size) = @_;
           return "/api/concerts?after=" . ($concert - 1)
                  . ($size ? "&size=$size" : '') }

sub hits { return $_[0]->metric('concert_catalog_hits_total') }
sub misses { return $_[0]->metric('concert_catalog_misses_total') }

# Every page has one.
sub etag {
    my ($answer) = @_;
    my $etag = $answer->header('ETag') // '';

    die "no ETag: $answer->{status} '$etag'" if $etag !~ /^(?:W\/)?"[^"]+"$/;
    return $etag;
}

# What of an answer must not depend on where it came from.
sub whole {
    my ($answer) = @_;
    my %headers = %{ $answer->{headers} };

    delete $headers{date};
    return [ $answer->status, \%headers, $answer->body ];
}

sub workers {
    my ($nginx) = @_;
    my $pid = $nginx->{pid};

    open my $children, '<', "/proc/$pid/task/$pid/children" or die $!;
    return split ' ', <$children>;
}

# Changes the configuration and reloads it.
sub reload {
    my ($nginx, $from, $to) = @_;
    my $file = "$nginx->{root}/nginx.conf";
    my @old = workers($nginx);

    open my $in, '<', $file or die $!;
    my $text = do { local $/; <$in> };
    $text =~ s/$from/$to/ or die "no $from";
    open my $out, '>', $file or die $!;
    print $out $text;
    close $out;

    kill HUP => $nginx->{pid};
    eventually { my %now = map { $_ => 1 } workers($nginx);
                 %now && !grep { $now{$_} } @old }
               'nginx reloads';
}


# kept for long
{
    my ($nginx, $ann) = keeping('1h', workers => 2);
    my $concert = concert('Old');
    my @one = (schedule(concert => $concert, seats => 3));
    my $schedules = "/api/concerts/schedules/$concert";

    for my $path (from($concert, 1), $schedules) {
        my ($hits, $misses) = (hits($nginx), misses($nginx));
        my $first = $ann->get($path);

        is $first->status, 200, "$path is answered";
        like $first->header('ETag'), qr/^"[0-9a-f]{16}"$/, 'with an ETag';
        is $first->header('Cache-Control'), 'private, no-cache',
           'for its user to keep and to ask again';

        is_deeply [ map { whole($ann->get($path)) } 1 .. 20 ],
                  [ (whole($first)) x 20 ], 'and from memory just so';
        is misses($nginx) - $misses, 1, 'PostgreSQL is asked once';
        is hits($nginx) - $hits, 20, 'which is counted';
    }

    my $page = $ann->get(from($concert, 1));
    my $list = $ann->get($schedules);

    rename_concert($concert, 'New');
    push @one, schedule(concert => $concert);

    is $ann->get(from($concert, 1))->body, $page->body,
       'a page of concerts is kept while the concert is renamed';
    is $ann->get($schedules)->body, $list->body,
       'and one of schedules while one is added';
    like $ann->get(from($concert, 2))->body, qr/"New"/,
         'another size is another page';
    like $ann->get("/api/concerts?size=1&x=y&after=" . ($concert - 1))->body,
         qr/"Old"/, 'what else the query has is not';
    is scalar @{ $ann->get("$schedules?after=1")->json }, 2,
       'another "after" is';
    is scalar @{ $ann->get("$schedules?size=100")->json }, 1,
       'the size that a page has by itself makes no other';
    is scalar @{ $ann->get('/api/concerts/schedules/' . concert())->json }, 0,
       'nor is one concert another';

    # a worker is gone, and its page is not
    my $misses = misses($nginx);
    my @old = workers($nginx);
    kill KILL => @old;
    eventually { my @now = workers($nginx);
                 @now == 2 && !grep { my $pid = $_; grep { $_ == $pid } @old }
                              @now }
               'workers are killed and come again';
    is $ann->get(from($concert, 1))->body, $page->body,
       'a page is kept for all workers';
    is misses($nginx), $misses, 'none of which asks PostgreSQL';

    # who may not see it
    my $path = from($concert, 1);
    my $ben = $nginx->client(stranger());
    is_problem $ben->get($path), 'token_not_active',
               'who is not in sees no page from memory';
    is_problem $nginx->nobody->get($path), 'identity_missing',
               'nor does who does not say who asks';
    is_problem $nginx->client('x')->get($path), 'identity_invalid',
               'nor who says so wrong';
    is_problem $ann->get("$path&size=1"), 'invalid_request',
               'and nobody does who asks wrong', { field => 'size' };
    is_problem $ann->get('/api/concerts?size=0'), 'invalid_request',
               'in whatever way', { field => 'size' };
    is $ann->get('/api/concerts?size=0')->header('Cache-Control'), 'no-store',
       'what was refused is not kept';
    is_problem $ann->post($path, {}), 'method_not_allowed',
               'another method is refused';
    $ben->enter;
    is $ben->get($path)->body, $page->body, 'all who are in see the same';
    $ben->leave;
    is_problem $ben->get($path), 'token_not_active', 'until they have left';

    # HEAD
    my $head = $ann->ask(HEAD => $path);
    is_deeply [ $head->status, $head->body,
                map { $head->header($_) } qw( ETag Content-Length Link ) ],
              [ 200, '', map { $page->header($_) }
                             qw( ETag Content-Length Link ) ],
              'HEAD is GET without the body';

    # seats are as they are
    my $seats = "/api/concerts/seats/$one[0]";
    my $free = $ann->get($seats);
    hold(user(), $one[0], 1);
    is scalar @{ $free->json } - @{ $ann->get($seats)->json }, 1,
       'seats are not kept';
    is join(' ', $free->header('Cache-Control'), $free->header('ETag') // ''),
       'no-store ', 'by nobody';

    # another time, and none
    reload($nginx, qr/concert_catalog_cache 1h/, 'concert_catalog_cache 2h');
    is $ann->get($path)->body, $page->body, 'a reload keeps pages';
    reload($nginx, qr/concert_catalog_cache 2h/, 'concert_catalog_cache off');
    like $ann->get($path)->body, qr/"New"/, 'but not when they are off';
    is $nginx->quit, 0, 'nginx ends';
}

# If-None-Match
{
    my ($nginx, $ann) = keeping('1h');
    my ($concert, $next) = map { concert('Old') } 1 .. 2;
    my $path = from($concert, 1);
    my $page = $ann->get($path);
    my $etag = $page->header('ETag');

    for my $known ($etag, "W/$etag", qq("x", $etag), '*') {
        for my $method (qw( GET HEAD )) {
            my $answer = $ann->ask($method, $path, undef,
                                   'If-None-Match' => $known);

            is_deeply [ $answer->status, $answer->body,
                        map { $answer->header($_) // '' }
                            qw( ETag Cache-Control Link Content-Type ) ],
                      [ 304, '', $etag, 'private, no-cache',
                        $page->header('Link'), '' ],
                      "$method with If-None-Match: $known";
        }
    }

    for my $other ('"x"', substr($etag, 1, 16), from($next, 1), '') {
        is_deeply whole($ann->get($path, undef, 'If-None-Match' => $other)),
                  whole($page), "GET with If-None-Match: $other";
    }

    isnt etag($ann->get(from($next, 1))), $etag,
         'another page has another ETag';
    is $nginx->metric('concert_request_duration_seconds_count'
                      . '{route="concerts",status="3xx"}'), 8,
       'what was not sent again is counted';
    is_problem $ann->get('/api/concerts?size=0', undef,
                         'If-None-Match' => '*'),
               'invalid_request', 'what is wrong stays so', { field => 'size' };
    is $ann->get('/api/token/' . $ann->id, undef, 'If-Match' => '"x"')->status,
       200, 'what has no ETag is not compared';
    $nginx->stop;
}

# off
{
    my ($nginx, $ann) = keeping('off');
    my $concert = concert('Old');
    my $path = from($concert, 1);
    my $old = $ann->get($path);

    rename_concert($concert, 'New');
    my $new = $ann->get($path);

    like $new->body, qr/"New"/, 'without memory a change is seen at once';
    isnt etag($new), etag($old), 'by another ETag';

    rename_concert($concert, 'Old');
    is $ann->get($path, undef, 'If-None-Match' => $old->header('ETag'))
           ->status, 304, 'what is as it was has the ETag that it had';
    my $next = concert();
    is $ann->get($path)->body, $old->body, 'what a page leads on to';
    isnt etag($ann->get($path)), etag($old), 'is a part of it';

    my $absent = "/api/concerts/schedules/" . ($next + 1);
    is_problem $ann->get($absent), 'concert_not_found', 'a concert is not yet';
    is hits($nginx), 0, 'and nothing comes from memory';
    $nginx->stop;
}

# as long as it is by itself
{
    my $nginx = nginx();
    my $ann = $nginx->client(stranger());
    my $concert = concert('Old');
    my $absent = '/api/concerts/schedules/' . ($concert + 1);

    $ann->enter;
    like $ann->get(from($concert))->body, qr/"Old"/, 'a page';
    rename_concert($concert, 'New');
    eventually { $ann->get(from($concert))->body =~ /"New"/ }
               'is asked for again';

    is_problem $ann->get($absent), 'concert_not_found', 'a concert is not yet';
    is concert(), $concert + 1, 'and then is';
    is $ann->get($absent)->body, '[]', 'which is known at once';
    $nginx->stop;
}

# PostgreSQL is away
{
    my $proxy = Proxy->new("$Host/.s.PGSQL." . ($Port // 5432));
    my $behind = "concert_postgres \"$ENV{TEST_NGINX_CONCERT_PG} host="
                 . $proxy->directory . '";';
    my ($long, $ann) = keeping('1h', http => $behind);
    my ($short, $ben) = keeping('1s', http => $behind);
    my $concert = concert();
    my $path = from($concert, 1);
    my $page = $ann->get($path);

    is $ben->get($path)->status, 200, 'with PostgreSQL there is a page';
    $proxy->close;

    eventually { $ann->get(from($concert, 2))->code eq 'store_unavailable' }
               'without it there is no other';
    is_deeply whole($ann->get($path)), whole($page), 'but the one that is kept';
    eventually { $ben->get($path)->code eq 'store_unavailable' }
               'one that is too old is not';

    $proxy->open;
    eventually { $ben->get($path)->status == 200 } 'until PostgreSQL is back';
    eventually { $ann->get(from($concert, 2))->status == 200 } 'for all';

    $_->stop for $long, $short;
    $proxy->close;
}

# many ask when a page gets old
{
    use constant { ROUNDS => 100, TOGETHER => 30 };

    my ($nginx, $ann) = keeping('500ms', workers => 2);
    my $path = from(concert('Old'));
    my $bytes = $ann->bytes_of(GET => $path);
    my $calls = 'concert_lane_calls_total{group="read"}';
    my $before = $nginx->metric($calls);
    my $end = time + 3;
    my $rounds = 0;
    my %bodies;

    while ($rounds < ROUNDS || time < $end) {
        $rounds++;
        $bodies{ $_->status . $_->body }++
            for $nginx->together(($bytes) x TOGETHER);
    }

    is_deeply [ values %bodies ], [ $rounds * TOGETHER ],
              'all who ask for a page get it';
    my $asked = $nginx->metric($calls) - $before;
    cmp_ok $asked, '>', 1, 'which is asked for again';
    cmp_ok $asked, '<', $rounds * TOGETHER / 10, 'by few of them';
    $nginx->stop;
}

# more pages than there is memory for
{
    my ($nginx, $ann) = keeping('1h');
    my $path = from(concert(), 1);

    $ann->get($path);

    for my $size (1 .. 100) {
        $ann->get("/api/concerts?size=$size&after=9007199254740991");
        $ann->get($path);
    }

    is misses($nginx), 101,
       'pages that are asked for once do not push out one that all look at';
    $nginx->stop;
}

{
    my ($nginx, $ann) = keeping('1h', http => 'concert_zone concert 2m;');
    my ($first) = split /\n/,
        sql("select concert.add_concert(repeat('x', " . LONGEST . "))
             from generate_series(1, " . MANY . ")");
    my $path = from($first, MANY);
    my @pages = map { $ann->get($path) } 1 .. 3;

    is scalar @{ $pages[0]->json }, MANY, 'a page larger than its place';
    is_deeply [ map { whole($_) } @pages ], [ (whole($pages[0])) x 3 ],
              'is answered';
    is misses($nginx), 3, 'and not kept';
    is $ann->get($path, undef, 'If-None-Match' => $pages[0]->header('ETag'))
           ->status, 304, 'but for who has it';
    $nginx->stop;
}

# what the log is told
{
    my ($nginx, $ann) = keeping('1h',
        http => 'log_format told "$concert_user_id $concert_route '
                . '$concert_queue_position $concert_code";',
        server => 'access_log logs/told.log told;');

    $ann->get('/api/concerts?size=1') for 1 .. 2;
    is hits($nginx), 1, 'of a page from memory';
    $nginx->stop;

    open my $in, '<', "$nginx->{root}/logs/told.log" or die $!;
    my @lines = grep { /concerts/ } <$in>;
    is_deeply \@lines, [ ($ann->id . " concerts 0 -\n") x 2 ],
              'the log tells the same';
}

done_testing;
