# An opening, and the draw before it: who comes before stands in an order that
# anybody can compute himself, as this test does.

use strict;
use warnings;

use Digest::SHA qw( hmac_sha256_hex sha256_hex );
use List::Util  qw( shuffle );
use Test::More;
use Time::HiRes qw( sleep time );

use Concert;
use Events;

my $Queues = 0;

sub new_name { return join '-', 'draw', $$, time =~ s/\D//r, ++$Queues }

# An nginx, whose workers each have to learn the seed, with a queue that opens at
# a time.
sub opening {
    my ($name, $opens, $more) = @_;

    $more //= 'draw=on';
    return nginx(http => "concert_queue name=$name opens=$opens $more;",
                 workers => 2);
}

sub draw {
    my ($nginx, $user) = @_;

    return $nginx->nobody->get('/api/queue/draw'
                               . ($user ? "?user=$user" : ''));
}

# What is done before an opening is done in time, or again with more of it.
# Returns what was made of it, and the time.
sub before_opening {
    my ($do) = @_;

    for my $lead (8, 40, 150) {
        my $opens = int(time) + $lead;
        my $made = $do->(seconds_from_now($lead));

        return $made if time < $opens - 1;
        $_->quit for @{ $made->{nginx} };
    }

    BAIL_OUT('this machine is too slow');
}

# The users in the order that the seed gives them, and what the rank key of each
# is.
sub by_seed {
    my ($seed, $queue, @users) = @_;

    my %key = map { $_ => substr hmac_sha256_hex("$queue:$_", $seed), 0, 13 }
                  @users;

    return [ sort { $key{$a} cmp $key{$b} || $a cmp $b } @users ], \%key;
}

# The whole of a draw, with two nginx, of which one is started again.
{
    my $queue = new_name();
    my @ids = map { stranger() } 1 .. 60;
    my ($twice, $gone, $back, $both) = @ids[1, 2, 3, 4];

    my $made = before_opening(sub {
        my ($opens) = @_;

        $queue = new_name();

        my @nginx = map { opening($queue, $opens, 'capacity=3 draw=on') } 1, 2;
        my %made = (nginx => \@nginx, opens => $opens);

        $made{first} = draw($nginx[1]);
        $made{tokens} = [ $nginx[0]->together(
            map { $nginx[0]->client($_)->enter_request } shuffle @ids) ];

        $made{again} = $nginx[0]->client($twice)->enter;
        $nginx[$_]->client($both)->enter for 1, 0, 1;

        $nginx[1]->client($gone)->leave;
        $made{gone} = [ map { my $nginx = $_;
                              first_with(404, sub {
                                  $nginx->client($gone)->token
                              }) } @nginx ];

        $nginx[0]->client($back)->leave;
        $made{back} = $nginx[1]->client($back)->enter;

        $made{stream} = Events->open($nginx[1], "/api/token/events/$both");
        $made{waits} = $made{stream}->next;
        $made{active} = [ grep { $_->is_active }
                          map { $nginx[0]->client($_) } @ids ];
        $made{looked} = [ map { $nginx[1]->client($_)->token->json }
                          $ids[0], $back ];
        eventually {
            $made{status} = $nginx[0]->nobody->get('/status')->json->{queue};
            $made{status}{waiting} == @ids - 1;
        } 'all are counted';
        $made{early} = draw($nginx[0], $ids[0]);
        $made{wrong} = draw($nginx[0], '1x');
        $made{stranger} = $nginx[0]->client(stranger())->token;

        $nginx[0]->stop;
        $nginx[0]->start;
        $made{restarted} = draw($nginx[0]);
        $made{after} = $nginx[0]->client($ids[0])->token->json;

        return \%made;
    });

    my ($one, $two) = @{ $made->{nginx} };
    my $first = $made->{first}->json;
    my $opens = $made->{opens} =~ s/Z/.000+00:00/r;

    like $first->{commitment}, qr/^[0-9a-f]{64}$/,
         'a hash of the seed is shown before anybody has come';
    is_json $made->{first}{body},
            { queue => $queue, opensAt => $opens, seed => undef,
              drawn => undef, commitment => $first->{commitment} },
            'and not the seed';

    is_deeply [ map { [ @{ $_->json }{qw( status position opensAt expiresAt )} ] }
                @{ $made->{tokens} } ],
              [ map { [ 'WAITING', undef, $opens, undef ] } @ids ],
              'who comes before the opening waits, and has no position';
    is scalar(grep { $_->json->{nextPoll} < 1
                     || $_->header('Retry-After') != $_->json->{nextPoll} }
              @{ $made->{tokens} }), 0,
       'and is told when to ask again';
    is_deeply [ @{ $made->{again}->json }{qw( status position )} ],
              [ 'WAITING', undef ], 'who enters twice is in the same place';
    is_problem $_, 'token_not_found', 'who has left is in it no more'
        for @{ $made->{gone} };
    is $made->{back}->status, 200, 'who has left may come again';
    is_deeply $made->{active}, [], 'nobody is let in before the opening';
    is_deeply [ map { [ @$_{qw( status position opensAt )} ] }
                @{ $made->{looked} } ],
              [ ([ 'WAITING', undef, $opens ]) x 2 ],
              'an nginx knows who has come to another';
    is_json $made->{early}{body},
            { queue => $queue, opensAt => $opens, seed => undef,
              drawn => undef, commitment => $first->{commitment},
              userId => 0 + $ids[0], key => undef, below => undef,
              place => undef },
            'nobody is told his key before the opening';
    is_problem $made->{wrong}, 'invalid_request', 'a user is a number',
               { field => 'user' };
    is_problem $made->{stranger}, 'token_not_found',
               'who has not come is not in the pre-queue';

    is $made->{restarted}->json->{commitment}, $first->{commitment},
       'the seed outlives nginx';
    is $made->{after}{status}, 'WAITING', 'and so does a place';

    is $made->{waits}{event}, 'position', 'a stream tells of a place';
    is $made->{waits}{data}{position}, undef, 'that is not known yet';
    is $made->{status}{opensAt}, $opens, 'operators see when it opens';
    is $made->{status}{waiting}, @ids - 1, 'and how many wait for it';

    eventually { draw($one)->json->{seed} } 'the seed is shown at the opening';

    my $heard = $made->{stream}->next;

    is_deeply [ $heard->{data}{userId}, defined $heard->{data}{position} ],
              [ 0 + $both, 1 ], 'a stream tells the place at the opening';

    my @in = grep { $_ != $gone } @ids;
    my $shown = draw($two)->json;
    my $seed = $shown->{seed};
    my ($order, $key) = by_seed($seed, $queue, @in);

    is sha256_hex($seed), $first->{commitment},
       'it is the one whose hash was shown';
    is $shown->{commitment}, $first->{commitment}, 'that is shown still';
    is $shown->{drawn}, scalar @in, 'all who were there are counted once';

    my %told = map { my $id = $_;
                     $id => draw($id % 2 ? $one : $two, $id)->json } @in;

    is_deeply { map { $_ => $told{$_}{key} } @in },
              { map { $_ => $key->{$_} } @in },
              'anybody can compute his key';
    is_deeply [ sort { $told{$a}{below} <=> $told{$b}{below} } @in ], $order,
              'and the order is that of the keys';
    is_deeply [ map { [ @{ $told{$_} }{qw( below place )} ] } @$order ],
              [ map { [ $_ - 1, $_ ] } 1 .. @in ],
              'the place is one more than the keys below';

    my $other = stranger();
    my (undef, $others) = by_seed($seed, $queue, $other);
    my $told = draw($one, $other)->json;

    is $told->{key}, $others->{$other}, 'who was not there can compute his, too';
    is $told->{below}, scalar(grep { $key->{$_} lt $others->{$other} } @in),
       'and how many are below';
    is $told->{place}, undef, 'and has no place';

    eventually { $one->client($order->[0])->is_active }
               'the first of them is let in';

    my %client = map { $_ => $one->client($_) } @in;
    my %token = map { $_ => $client{$_}->token->json } @in;

    is_deeply [ map { $token{$_}{status} } @$order ],
              [ ('ACTIVE') x 3, ('WAITING') x (@in - 3) ],
              'the first of the order are let in, and nobody else';
    is_deeply [ map { $token{$_}{position} } @$order ],
              [ 0, 0, 0, 1 .. @in - 3 ],
              'all others stand in it';
    is_deeply [ grep { exists $token{$_}{opensAt} } @in ], [],
              'and nobody waits for the opening any more';

    # those who come now
    my @late = map { $two->client(stranger()) } 1 .. 3;

    push @late, $two->client($gone);
    is_deeply [ map { $_->enter->json->{position} } @late ],
              [ map { @in - 3 + $_ } 1 .. 4 ],
              'who comes later stands behind, in the order of arrival, and so '
              . 'does who had left';

    # one leaves who has not been let in, and comes again
    my $leaver = $order->[10];

    $client{$leaver}->leave;
    is_problem $two->client($leaver)->token, 'token_not_found',
               'who leaves after the opening has lost his place';
    is $client{$leaver}->enter->json->{position}, @in - 3 + 5,
       'and comes again at the end';
    is draw($two, $leaver)->json->{place}, 11,
       'what was drawn for him is shown still';

    my @line = ((grep { $_ != $leaver } @$order), (map { $_->id } @late),
                $leaver);
    my @came;

    for my $id (@line) {
        my $user = $one->client($id);

        push @came, $id if $user->is_active;
        $user->leave;
    }

    is_deeply \@came, \@line, 'all are let in, in the order of their places';

    $one->stop;
    $two->stop;
}

# Redis loses its data before the opening.
{
    my $queue = new_name();
    my $nginx = opening($queue, seconds_from_now(3600));
    my $user = $nginx->client(stranger());
    my $commitment = draw($nginx)->json->{commitment};

    $user->enter;
    redis('DEL', map { "{concert:$queue}:$_" }
                 qw( queue waiting called active ended seen0 seen1 drawn
                     absent ));

    eventually { draw($nginx)->json->{commitment} ne $commitment }
               'when Redis has lost its data there is another seed';

    is_problem $user->token, 'token_not_found', 'and nobody is in the pre-queue';
    is $user->enter->json->{status}, 'WAITING', 'one may enter again';
    is draw($nginx)->json->{seed}, undef, 'the new seed is a secret, too';

    my %logged = map { /draw of queue .* SHA-256 is ([0-9a-f]{64})/ ? ($1 => 1)
                                                                    : () }
                     $nginx->log;

    is_deeply [ sort keys %logged ],
              [ sort $commitment, draw($nginx)->json->{commitment} ],
              'the log has both hashes';

    # the keys are of the new one
    $nginx->reload(qr/opens=\S+ draw=on/, '');
    eventually {
        my $opened = draw($nginx)->json->{seed};

        # until the workers are gone that would put it off again
        if (!$opened) {
            my ($state) = redis('HGET', "{concert:$queue}:queue", 'state')
                          =~ /^(\d.*) \d+ -1\r$/m;
            redis('HSET', "{concert:$queue}:queue", 'state',
                  "$state " . int(1000 * (time - 10)) . ' -1') if $state;
        }
        $opened;
    } 'it opens';

    my ($order, $key) = by_seed(draw($nginx)->json->{seed}, $queue, $user->id);

    is draw($nginx, $user->id)->json->{key}, $key->{$user->id},
       'who came then has a key of that';
    is draw($nginx, $user->id)->json->{place}, 1, 'and a place';

    $nginx->stop;
}

# The opening is put off, and cannot be brought forward.
{
    my $queue = new_name();
    my ($soon, $later, $latest) = map { seconds_from_now($_) } 3600, 7200, 9999;
    my $nginx = opening($queue, $later);
    my $user = $nginx->client(stranger());
    my $at = sub { return draw($nginx)->json->{opensAt} =~ s/\.000\+00:00/Z/r };
    my $commitment = draw($nginx)->json->{commitment};

    $nginx->reload($later, $soon);
    eventually { $at->() eq $soon }
               'before anybody has come the opening is what nginx.conf says';

    $user->enter;
    $nginx->reload($later, $latest);
    eventually { $at->() eq $latest } 'then it can be put off';
    eventually { ($user->token->json->{opensAt} // '') =~ /^\Q@{[ $latest =~ s{Z}{}r ]}/ }
               'and who waits is told so';

    $nginx->reload($later, $soon);
    eventually { grep { /queue "$queue" opens at \d+ s .* write another name/ }
                      $nginx->log } 'it cannot be brought forward, and the log says so';
    is $at->(), $latest, 'the opening stays';
    is draw($nginx)->json->{commitment}, $commitment,
       'and the seed is the same all the while';

    $nginx->stop;
}

# Without a draw arrival counts, and nobody is let in before.
{
    my $queue = new_name();

    my $made = before_opening(sub {
        my ($opens) = @_;

        $queue = new_name();

        my $nginx = opening($queue, $opens, 'capacity=2');
        my @users = map { $nginx->client(stranger()) } 1 .. 5;
        my %made = (nginx => [ $nginx ], opens => $opens, users => \@users);

        $made{tokens} = [ map { $_->enter->json } @users ];
        $made{known} = [ map { $_->token->json } @users ];
        $made{active} = [ grep { $_->is_active } @users ];
        $made{draw} = draw($nginx);

        return \%made;
    });

    my ($nginx) = @{ $made->{nginx} };
    my $opens = $made->{opens} =~ s/Z/.000+00:00/r;

    for my $what (qw( tokens known )) {
        is_deeply [ map { [ @$_{qw( status position opensAt )} ] }
                    @{ $made->{$what} } ],
                  [ map { [ 'WAITING', $_, $opens ] } 1 .. 5 ],
                  'without a draw the order is that of arrival';
    }

    is_deeply $made->{active}, [], 'and nobody is let in before the opening';
    is_problem $made->{draw}, 'draw_not_found', 'there is no draw to check';

    my @users = @{ $made->{users} };

    eventually { $users[0]->is_active } 'at the opening the first goes in';
    is_deeply [ map { $_->token->json->{position} } @users ], [ 0, 0, 1, 2, 3 ],
              'and the others stand in their order';

    $nginx->stop;
}

# Another opening of the same queue.
{
    my $queue = new_name();
    my $before = seconds_from_now(-3600);
    my $nginx = opening($queue, $before);
    my $user = $nginx->client(stranger());

    is $user->enter->json->{status}, 'ACTIVE',
       'after the opening a queue is as any other';
    is_problem draw($nginx), 'draw_not_found',
               'and nothing was drawn when nobody was there';

    $nginx->reload($before, seconds_from_now(3600));
    eventually { draw($nginx)->status == 200 } 'another opening has a draw';
    eventually { !$user->is_active } 'for which the queue begins anew';
    is $user->enter->json->{position}, undef, 'with a pre-queue';

    $nginx->stop;
}

done_testing;
