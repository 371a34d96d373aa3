# What a drill finds in what it recorded: loadtest/phases, loadtest/outage; and
# loadtest/order, who was let in when.

use strict;
use warnings;

use File::Temp qw( tempdir );
use FindBin;
use Test::More;

my $Programs = "$FindBin::Bin/../loadtest";
my $Out = tempdir(CLEANUP => 1);

@ENV{qw( GOAL_P95_MS GOAL_ERRORS )} = (100, 0.001);
delete $ENV{SMOKE};

sub write_file {
    my ($name, $text) = @_;

    open my $out, '>', "$Out/$name" or die "$Out/$name: $!";
    print $out $text;
    close $out or die "$Out/$name: $!";
}

sub lines { return join '', map { join("\t", @$_) . "\n" } @_ }

sub facts {
    open my $in, '<', "$Out/facts.tsv" or die "no facts: $!";
    return map { /^(\S+)\t(.*)/ ? ($1, $2) : () } <$in>;
}

# What a program ends with; what it prints goes nowhere.
sub run {
    my ($program, @arguments) = @_;

    open my $saved, '>&', \*STDOUT or die $!;
    open STDOUT, '>', '/dev/null' or die $!;
    system $^X, "$Programs/$program", @arguments;
    open STDOUT, '>&', $saved or die $!;
    return $? >> 8;
}


# --- calls and alerts --------------------------------------------------------

my @Fault = ([10_000, 'fault begun', 'redis'], [30_000, 'fault over', 'redis']);

sub firing { return [$_[0], 'alert firing', "$_[1], active since then"] }
sub resolved { return [$_[0], 'alert resolved', $_[1]] }

# phases(CALLS, ALERTS, KEEPS): a call is [MS, NAME, STATUS, DURATION]
sub phases {
    my ($calls, $alerts, $keeps) = @_;

    write_file('calls.csv', join '',
        "metric_name,timestamp,metric_value,name,status,extra_tags\n",
        map { my ($ms, $name, $status, $took) = @$_;
              map { "$_,$ms,$took,$name,$status,server=1\n" }
                  qw( call_duration http_req_duration ) } @$calls);
    write_file('events.tsv',
               lines(sort { $a->[0] <=> $b->[0] } @Fault, @$alerts));
    is run('phases', $Out, $keeps // 'balance',
           'StoreAway (group=redis)|StoreAway (group=write)'), 0, 'phases runs';
    return facts();
}

my @Well = map { [1000 * $_, 'balance', 200, 5] } 1 .. 40;
my @Hurt = (@Well, [12_000, 'token', 503, 1], [31_000, 'token', 200, 2]);

{
    my %fact = phases(\@Hurt, [
        firing(9000, 'StoreAway (group=redis)'),
        resolved(9500, 'StoreAway (group=redis)'),
        firing(11_000, 'RouteSlow (route=pay)'),
        firing(14_000, 'StoreAway (group=redis)'),
        resolved(33_000, 'StoreAway (group=redis)') ]);

    is $fact{first_error_ms}, 2000, 'the first error is counted from the fault';
    is $fact{recovered_ms}, 1000, 'and the recovery from its end';
    is $fact{kept}, 1, 'a route that nothing has hurt keeps its goal';
    is $fact{alert_name}, 'StoreAway (group=redis)',
       'the alert is the one that it has named';
    is $fact{alert_ms}, 4000, 'not another one, or one from before';
    is $fact{alert_ended_ms}, 3000, 'its end is counted from the end of the fault';
}

{
    my %fact = phases(\@Hurt, [
        firing(14_000, 'StoreAway (group=write)'),
        firing(15_000, 'StoreAway (group=redis)'),
        resolved(33_000, 'StoreAway (group=write)') ]);

    is $fact{alert_ms}, 4000, 'it may have several names';
    ok !exists $fact{alert_ended_ms}, 'and has not ended while one still fires';
}

{
    my %fact = phases(\@Hurt, [ firing(11_000, 'RouteSlow (route=pay)') ]);

    ok !exists $fact{alert_ms}, 'without it there is no time of an alert';
}

{
    my %fact = phases([ @Hurt, map { [20_000 + $_, 'balance', 200, 200] } 1 .. 9 ],
                      []);
    is $fact{kept}, 0, 'a route that became slow has not kept its goal';
    %fact = phases(\@Hurt, [], 'balance charge');
    is $fact{kept}, 0, 'nor has one that nobody asked';
}

# of ten calls of a route during the fault
sub kept_with {
    my ($failed, $took) = @_;

    my %fact = phases([ map { [20_000 + $_, 'balance', $_ <= $failed ? 504 : 200,
                               $took] } 1 .. 10 ], []);
    return $fact{kept};
}

is kept_with(1, 5), 0, 'nor one of which a call failed';

{
    local $ENV{SMOKE} = 1;

    is kept_with(5, 5000), 1, 'a smoke test takes slow calls, and some that fail';
    is kept_with(6, 5), 0, 'but not most of them';
}


# --- the breaker's probes ------------------------------------------------------

sub at { return sprintf '1970-01-01T00:00:%06.3fZ', $_[0] / 1000 }

# probes([MS, CALLS-SENT]...): the breaker opens at 12 s, lets some through at 15 s,
# opens again at 16 s, and is closed by those of 32 s
sub probes {
    my (@looks) = @_;
    my @states = ([12_000, 'open'], [15_000, 'half_open'], [16_000, 'open'],
                  [32_000, 'half_open'], [33_000, 'closed']);
    my $from = 'closed';

    write_file('status.json', '{"breaker": {"events": [' . join(', ', map {
        my ($ms, $to) = @$_;
        my $event = sprintf '{"at": "%s", "from": "%s", "to": "%s",'
                            . ' "reason": "waited"}', at($ms), $from, $to;
        $from = $to;
        $event } @states) . ']}}');
    write_file('lanes.tsv', lines(map {
        [$_->[0], 'concert_lane_calls_total{group="gateway"}', $_->[1]] } @looks));
    write_file('events.tsv', lines(@Fault));
    write_file('facts.tsv', '');
    write_file('calls.tsv', lines([9000, 'card', 200, 5], [13_000, 'card', 503, 1],
                                  [9000, 'balance', 200, 2],
                                  [13_000, 'balance', 200, 2]));
    write_file('nginx.conf', 'concert_breaker wait_duration_in_open_state=3s
        permitted_number_of_calls_in_half_open_state=5;');
    write_file('ledger.json', '{"payments": [{"orderId": "a", "approved": 100,
                                "cancelled": 0}]}');
    write_file('payments.tsv', lines(['a', 'PAID', 100, 'PAID']));
    write_file('summary.json', '{"metrics": {"cards_paid": {"count": 2}}}');
    is run('outage', $Out, "$Out/nginx.conf"), 0, 'outage runs';
    return facts();
}

{
    my %fact = probes([11_000, 1], [14_000, 20], [17_000, 24], [34_000, 40]);

    is $fact{times_open}, 2, 'the breaker opened twice';
    is $fact{closed_ms}, 3000, 'and closed after the end';
    is $fact{probes_most}, 4, 'probes are what was sent between two open states';
    is $fact{probes_too_many}, 0, 'and may be as many as permitted';
    is $fact{won_apart}, 0, 'the ledgers agree';
    is $fact{cards_told_in_vain}, 1, 'but for a card that nobody was paid by';
}

{
    my %fact = probes([14_000, 20], [17_000, 26], [34_000, 40]);
    is $fact{probes_too_many}, 1, 'more than permitted are seen';
}

for my $looks ([], [[11_000, 1], [34_000, 40]], [[14_000, 20], [33_500, 40]]) {
    my %fact = probes(@$looks);
    ok !exists $fact{probes_too_many}, 'what was not looked at is not known';
}


# --- the order of letting in ---------------------------------------------------

# order([ASKED, ANSWERED, WAITS, IS-IN]...)
sub order {
    write_file('queue.txt', join '', map { "queue @$_\n" } @_);
    return run('order', "$Out/queue.txt");
}

is order([1, 2, 0, 2], [3, 4, 10, 11], [5, 6, 10, 12]), 0,
   'who came first was let in first';
is order([1, 2, 20, 21], [3, 4, 0, 4]), 1, 'who came later was let in before';
is order([1, 2, 0, 2], [3, 4, 0, 4]), 1, 'nothing is shown if nobody waited';
is order((map { [$_, $_, 2000, 2001] } 1 .. 1), map { [$_, $_, 0, $_] } 10 .. 265),
   1, 'and 256 wrongs are not none';

done_testing();
