# nginx's post_action goes on with the request of a client that has left, while
# what that client asked for is still under way.

use strict;
use warnings;

use Socket qw( SOL_SOCKET SO_LINGER );
use Test::More;

use Concert;

my $Nginx = nginx(queue => 'capacity=1 poll=100ms ttl=30s', server => <<'END');
    location = /charge      { post_action @charge; concert charge; }
    location @charge        { concert charge; }

    location /watch/        { post_action @balance; concert token_events; }
    location @balance       { concert balance; }
END

# Ends a connection without goodbye: RST.
sub slam {
    my ($socket) = @_;

    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
    close $socket;
}

# How many requests wait for a lock of PostgreSQL's.
sub waiting {
    return sql("select count(*) from pg_stat_activity
                where datname = current_database()
                      and wait_event_type = 'Lock'");
}

sub amount_of {
    my ($user) = @_;
    return sql("select balance from concert.accounts
                where account_id = $user");
}


{
    my $user = user(0);
    my $client = $Nginx->client($user);
    my $lock = lock_rows("select from concert.accounts
                          where account_id = $user for update");

    my $socket = $Nginx->begin($client->charge_request(7)
                               =~ s{/api/balance/charge}{/charge}r);

    eventually { waiting() == 1 } 'a charge is under way';
    slam($socket);
    is $Nginx->nobody->get('/healthz')->status, 200, 'its client has left';
    undef $lock;

    eventually { amount_of($user) == 14 }
               'it is done, and so is what post_action asks for';
    is $client->charge(1)->json->{amount}, 15, 'each once';
}

{
    my ($first, $second) = map { $Nginx->client($_) } users(2, 5);

    $_->enter for $first, $second;

    my $id = $second->id;
    my $socket = $Nginx->begin($second->bytes_of(GET => "/watch/$id"));

    sysread $socket, my $bytes, 65536;
    like $bytes, qr/^HTTP.1\.1 200 /, 'a stream is open';

    my $lock = lock_rows('lock table concert.accounts
                          in access exclusive mode');
    slam($socket);
    is $Nginx->nobody->get('/healthz')->status, 200, 'its client has left';

    # the event that the stream waits for ends it, one way or the other
    $first->leave;
    eventually { waiting() > 0 }
               'when the client is found out post_action asks';
    undef $lock;

    eventually { $Nginx->metric('concert_event_streams') == 0 }
               'and the stream is gone';
    is $second->balance, 5, 'requests are served as before';
}

$Nginx->settled;
$Nginx->stop;

done_testing();
