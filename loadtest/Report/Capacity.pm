package Report::Capacity;

# The greatest rates, what stands in the way of greater ones, and what that means
# for other numbers of people.

use strict;
use warnings;

use Exporter qw( import );
use Report::Files qw( json table );
use Report::Markdown qw( number rows );
use Report::Plot qw( lines stacked );

our @EXPORT_OK = qw( capacity merged sizing summary );

my @Who = (['nginx', 'nginx'], ['postgres', 'PostgreSQL'], ['redis', 'Redis'],
           ['client', 'load generator']);
my %What = (reservation => 'ways from the queue to the payment',
            balance => 'looks and charges');

# a part that is at work for so much of its time is what the others wait for
use constant FULL => 0.85;

# of all cores, what the kernel and the watcher take, and nobody else should
use constant QUIET => 0.15;


# What `capacity` found, as { about, steps, runs => { "FLOW TOOL" => about } }: of
# each flow by each tool the newest steps, as a run may be of some only, if they
# were held to the same goal on as many cores as those of the newest run.
sub merged {
    my ($newest, @others) = @_;
    my %is = (about => $newest);

    for my $about ($newest, @others) {
        next if grep { $about->{$_} ne $newest->{$_} }
                     qw( goal_p95_ms goal_errors step_s cores );
        my %of;
        push @{ $of{"$_->{flow} $_->{tool}"} }, $_
            for table("$about->{dir}/steps.tsv");

        for my $what (grep { !$is{runs}{$_} } sort keys %of) {
            $is{runs}{$what} = $about;
            push @{ $is{steps} }, @{ $of{$what} };
        }
    }

    return \%is;
}

sub steps_of {
    my ($run, $flow, $tool) = @_;

    return sort { $a->{offered} <=> $b->{offered}
                  || $a->{began_ms} <=> $b->{began_ms} }
           grep { $_->{flow} eq $flow && (!$tool || $_->{tool} eq $tool) }
                @{ $run->{steps} };
}

sub all_of {
    my ($run, $column) = @_;
    my %seen = map { $_->{$column} => 1 } @{ $run->{steps} };

    return sort keys %seen;
}

sub flows { return reverse all_of($_[0], 'flow'); }
sub tools { return all_of($_[0], 'tool'); }

# The fastest step that kept the goal; by one tool, or by the better one.
sub greatest { my @kept = grep { $_->{kept} } steps_of(@_); return $kept[-1]; }

# The slowest one by that tool that was faster and broke it.
sub broken {
    my ($run, $step) = @_;

    return (grep { !$_->{kept} && $_->{offered} > $step->{offered} }
                 steps_of($run, $step->{flow}, $step->{tool}))[0];
}

# Of what waited when a step began, more may be done than offered: that does not
# count.
sub held {
    my ($step) = @_;

    return $step->{done} < $step->{offered} ? $step->{done} : $step->{offered};
}

sub used { my ($step, $who) = @_; return $step->{"${who}_user"} + $step->{"${who}_sys"}; }
sub cores { my ($step) = @_; return $step->{all} + $step->{idle} + $step->{stolen}; }

sub servers {
    my ($step) = @_;
    my $sum = 0;

    $sum += used($step, $_) for qw( nginx postgres redis );
    return $sum;
}


# --- the bottleneck --------------------------------------------------------

# Each part with the share of its time that it was at work.
sub parts {
    my ($step) = @_;
    my $cores = cores($step) || 1;

    return (
        ['the processors, all of them', ($step->{all} + $step->{stolen}) / $cores],
        ['the event loop of the busiest nginx worker', $step->{loop}],
        ["Redis's one thread", used($step, 'redis')],
        map { ["the lanes of $_ (mean batch " . number($step->{"${_}_batch"})
               . ')', $step->{$_}] } qw( read write redis ),
    );
}

sub share { my ($share) = @_; return sprintf '%.0f %%', 100 * $share; }

# Processor time that is used by nobody whom we know.
sub rest {
    my ($step) = @_;
    my $rest = $step->{all};

    $rest -= used($step, $_->[0]) for @Who;
    return $rest > 0 ? $rest : 0;
}

# What makes a figure say less than it seems to.
sub doubts {
    my ($run, $step) = @_;
    my $text = '';

    $text .= ' **Others had ' . share(rest($step) / ($step->{all} || 1)) . ' of '
             . 'the processor time that was used: the machine was not quiet.**'
        if rest($step) > QUIET * cores($step);
    $text .= ' **No faster step was tried: the limit may be higher.**'
        if !broken($run, $step);
    return $text;
}

# In words, from the step's own figures.
sub verdict {
    my ($run, $step) = @_;
    my ($first) = sort { $b->[1] <=> $a->[1] } parts($step);
    my $all = $step->{all} || 1;
    my @who = sort { used($step, $b->[0]) <=> used($step, $a->[0]) } @Who;
    my $text = $first->[1] >= FULL
               ? "**$first->[0]** (" . share($first->[1]) . ' of the time at work)'
               : "no part is full; the fullest is **$first->[0]** ("
                 . share($first->[1]) . ')';

    $text .= '; of the processor time that is used ' . join(', ',
        map { "$_->[1] has " . share(used($step, $_->[0]) / $all) } @who);

    $text .= ". $step->{tool}, the load generator, is what takes most: the limit "
             . 'of the service is higher' if $who[0][0] eq 'client';
    return "$text." . doubts($run, $step);
}

sub ranking {
    my ($at, $beyond) = @_;
    my @then = $beyond ? parts($beyond) : ();
    my @parts = parts($at);
    my @order = sort { $parts[$b][1] <=> $parts[$a][1] } 0 .. $#parts;

    return rows(['part', "at work at $at->{offered}/s",
                 $beyond ? "at $beyond->{offered}/s, beyond the goal" : ()],
                map { [$parts[$_][0], share($parts[$_][1]),
                       $beyond ? share($then[$_][1]) : ()] } @order);
}

sub processors {
    my ($at) = @_;
    my $all = $at->{all} || 1;
    my @rows = map {
        my ($who, $name) = @$_;
        $name .= " ($at->{tool})" if $who eq 'client';
        [$name, number($at->{"${who}_user"}), number($at->{"${who}_sys"}),
         share(used($at, $who) / $all), used($at, $who)]
    } @Who;

    push @rows, ['everything else', '', '', share(rest($at) / $all), rest($at)];
    return rows(['who', 'cores, user', 'cores, system', 'of what is used'],
                map { [@$_[0 .. 3]] } sort { $b->[4] <=> $a->[4] } @rows)
           . 'Used: ' . number($at->{all}) . ' of ' . number(cores($at))
           . ' cores; idle ' . number($at->{idle}) . ', taken by the host '
           . number($at->{stolen}) . ".\n\n";
}

sub waits {
    my ($at) = @_;
    my @waits = map { [split /=/, $_, 2] } split /; /, $at->{waits};
    my $sum = 0;

    $sum += $_->[1] for @waits;
    return '' if !$sum;
    return rows(['what the sessions of PostgreSQL do', 'sessions, on the average',
                 'share'],
                map { [$_->[0] =~ s/^idle$/idle: wait for a call/r,
                       $_->[1], share($_->[1] / $sum)] } @waits);
}


# --- sections --------------------------------------------------------------

sub step_table {
    my (@steps) = @_;

    return rows(['offered /s', 'done /s', 'requests /s', 'p50 ms', 'p95 ms',
                 'p99 ms', 'slowest route (p95 ms)', 'errors', 'dropped',
                 'nginx', 'PostgreSQL', 'Redis', $steps[0]{tool}, 'idle',
                 'goal'],
                map { my $step = $_;
                      [$step->{offered}, (map { number($step->{$_}) }
                           qw( done requests p50 p95 p99 )),
                       "$step->{worst} (" . number($step->{worst_p95}) . ')',
                       sprintf('%.2f %%', 100 * $step->{errors}),
                       $step->{dropped},
                       (map { number(used($step, $_->[0])) } @Who),
                       number($step->{idle}),
                       $step->{kept} ? 'kept' : 'broken'] } @steps);
}

# Of a step that was tried again, the last try.
sub last_tries {
    my %last = map { $_->{offered} => $_ }
                   sort { $a->{began_ms} <=> $b->{began_ms} } @_;

    return map { $last{$_} } sort { $a <=> $b } keys %last;
}

sub charts {
    my ($run, $dir, $flow, $goal) = @_;
    my @tools = tools($run);
    my $at = greatest($run, $flow);
    my @steps = last_tries(steps_of($run, $flow,
                                    $at ? $at->{tool} : $tools[0]));
    my $tool = $steps[0]{tool};

    lines("$dir/latency-$flow.svg",
          { title => "$flow: p95 of the slowest route over the rate",
            x => "$flow flows a second, offered", y => 'ms', log => 1,
            limit => $goal },
          map { my $tool = $_;
                ["by $tool", map { [$_->{offered}, $_->{worst_p95} || 0.1] }
                                 last_tries(steps_of($run, $flow, $tool))]
          } @tools);
    stacked("$dir/processor-$flow.svg",
            { title => "$flow: processors over the rate, by $tool",
              y => 'cores' },
            [(map { $_->[1] } @Who), 'everything else', 'idle',
             'taken by the host'],
            map { my $step = $_;
                  my @used = map { used($step, $_->[0]) } @Who;
                  ["$step->{offered}/s", @used, rest($step), $step->{idle},
                   $step->{stolen}]
            } @steps);
    return "![p95 over the rate](latency-$flow.svg)\n\n"
           . "![processors over the rate](processor-$flow.svg)\n\n";
}

# capacity RUN DIRECTORY: the section, with charts in the directory
sub capacity {
    my ($run, $dir) = @_;
    my %about = %{ $run->{about} };
    my $text = "## The greatest rate\n\nIn steps of $about{step_s} s, begun at "
        . "their rate whatever becomes of the ones before; a step keeps the goal "
        . "if the p95 of each route is at most $about{goal_p95_ms} ms, at most "
        . sprintf('%g', 100 * $about{goal_errors})
        . " % of the requests fail, and what was begun is done. By wrk the first "
        . "request of a flow counts from when it was due, so waiting for one of its "
        . "connections is in its times; what is a second late is dropped. By k6 it "
        . "counts from when it was sent; what finds no virtual user is dropped.\n\n";

    for my $flow (flows($run)) {
        $text .= "### $flow: $What{$flow}\n\n" . charts($run, $dir, $flow,
                                                        $about{goal_p95_ms});

        for my $tool (tools($run)) {
            my @steps = steps_of($run, $flow, $tool) or next;
            $text .= "By $tool (columns from nginx on: cores):\n\n"
                     . step_table(@steps);
        }

        my $at = greatest($run, $flow) or next;
        $text .= "**What stands in the way at $at->{offered}/s, offered by "
                 . "$at->{tool}:** " . verdict($run, $at) . "\n\n" . ranking($at, broken($run, $at))
                 . processors($at) . waits($at);
    }

    return $text;
}

# What a reader wants to know first.
sub summary {
    my ($run) = @_;
    my @rows;

    for my $flow (flows($run)) {
        for my $tool (tools($run)) {
            next if !$run->{runs}{"$flow $tool"};
            my $at = greatest($run, $flow, $tool);

            push @rows, [$flow, $tool, $at ? (number(held($at)), $at->{offered},
                         number($at->{requests}), number($at->{worst_p95}),
                         sprintf('%.2f %%', 100 * $at->{errors}),
                         share(used($at, 'client') / ($at->{all} || 1)))
                         : ('none', ('') x 5)];
        }
    }

    my $text = rows(['flow', 'found by', 'greatest rate, held /s', 'offered /s',
                     'requests /s',
                     'p95 of the slowest route, ms', 'errors',
                     'the generator\'s share of the processor time'], @rows);

    for my $flow (flows($run)) {
        my $at = greatest($run, $flow) or next;
        $text .= '- This deployment holds **' . number(held($at))
                 . " $What{$flow} a second** ($at->{offered} were offered). The "
                 . 'bottleneck there: ' . verdict($run, $at) . "\n";
    }

    return "$text\n";
}


# --- sizing ----------------------------------------------------------------

# concert_queue's own, where nginx.conf says nothing else
use constant { POLL_S => 1, CLAIM_S => 30 };

# nextPoll is a tenth of the wait, within limits (src/core/queue.c)
use constant { POLLS_IN_A_WAIT => 10, MOST_POLL_S => 60 };

# A time of a directive's parameter, as nginx has them.
sub seconds_of {
    my ($directive, $parameter) = @_;
    my %unit = (ms => 0.001, '' => 1, s => 1, m => 60, h => 3600);
    my ($n, $unit) = $directive =~ /\b$parameter=(\d+)(ms|s|m|h|)(?!\S)/;

    return defined $n ? $n * $unit{$unit} : undef;
}

# What one Redis, and a PostgreSQL as it was measured, cannot do.
sub too_much {
    my ($at, $redis, $postgres) = @_;
    my $measured = cores($at);

    return join '; ',
        $redis > 1 ? '**more than the one thread of a Redis**' : (),
        $postgres > $measured
            ? '**PostgreSQL on more cores than were measured**' : ();
}

# Buyers who are in, at the pace of machines and at that of people.
sub buyers {
    my ($at, $paces) = @_;
    my $busy = ($at->{all} + $at->{stolen}) / (cores($at) || 1);
    my %cost = map { $_ => used($at, $_) / $at->{done} / $busy }
                   qw( nginx postgres redis );
    my @rows;

    for my $buyers (1000, 10000, 100000) {
        for (@$paces) {
            my ($pace, $name) = @$_;
            my $rate = $buyers / $pace;
            my %cores = map { $_ => $rate * $cost{$_} } keys %cost;
            my $all = $cores{nginx} + $cores{postgres} + $cores{redis};

            push @rows, [$buyers, sprintf('%s s (%s)', number($pace), $name),
                number($rate), number($rate * $at->{requests} / $at->{done}),
                (map { number($_) } @cores{qw( nginx postgres redis )}, $all,
                                    $rate / held($at)),
                too_much($at, @cores{qw( redis postgres )})];
        }
    }

    return 'Rate = buyers who are in at once / seconds that a way takes. Cores = '
        . 'rate x processor time of a way / ' . sprintf('%.2f', $busy)
        . ", the share of the processors that was in use when the goal was still "
        . "kept.\n\n"
        . rows(['buyers at once', 'seconds of a way', 'ways /s', 'requests /s',
                'cores for nginx', 'for PostgreSQL', 'for Redis', 'cores in all',
                'times the rate held here', 'what stands against it'], @rows)
        . "A second nginx may stand beside the first, but all that sell the same "
        . "concerts have one queue and one database. Where Redis needs more than a "
        . "core the sale has to be split by concert, each part with a Redis and a "
        . "PostgreSQL of its own; where PostgreSQL needs more cores than there were, "
        . "nobody has measured whether it can use them.\n\n";
}

# Polls a second of all who wait, if they are let in at a rate and ask again when
# nextPoll says so: in the mean after a tenth of the time that is left.
sub polls {
    my ($people, $rate, $least, $most) = @_;
    my ($wait, $n) = ($people / $rate, POLLS_IN_A_WAIT);
    my ($near, $far) = map { my $end = $_ * $n; $end < $wait ? $end : $wait }
                           $least, $most;

    return $rate * ($near / $least + $n * log(($far || 1) / ($near || 1))
                    + ($wait - $far) / $most);
}

# What `make bench ARGS=million` measured of tickets, if it ran.
sub tickets {
    my ($results) = @_;

    for my $file (reverse sort glob "$results/*-bench/bench.json") {
        my %is = (from => $file =~ s{.*/([^/]+)/[^/]+$}{$1}r);

        for (@{ json($file)->{rows} }) {
            $is{redis} = $_->{value}
                if $_->{row} =~ /^Redis memory of a ticket that waits/;
            $is{zone} = $1 if $_->{row} =~ /with (\d+) bytes a ticket$/;
            $is{poll_us} = $1 if $_->{row} =~ /^poll of \d+ \(([\d.]+) us\)/;
        }

        return %is if $is{redis} && $is{zone} && $is{poll_us};
    }

    return;
}

# People who wait while others buy.
sub waiting {
    my ($run, $at, $results) = @_;
    my $queue = $run->{about}{queue} // '';
    my $least = seconds_of($queue, 'poll') // POLL_S;
    my $most = (seconds_of($queue, 'claim') // CLAIM_S) / 2;
    my %ticket = tickets($results);
    my @memory = !%ticket ? () : ('cores of nginx for polls', 'MB of Redis',
                                  'MB of shared memory');
    my @rows;

    $most = MOST_POLL_S if $most > MOST_POLL_S;

    for my $people (10000, 100000, 1000000) {
        my $polls = polls($people, held($at), $least, $most);

        push @rows, [$people, number($people / held($at) / 60), number($polls),
                     @memory ? (number($polls * $ticket{poll_us} / 1e6),
                                map { number($people * $_ / 1e6) }
                                    @ticket{qw( redis zone )}) : ()];
    }

    return "### Who waits\n\nWhen all of them are there, are let in at the rate "
        . "that is held here, and ask again when `nextPoll` says so: after a tenth "
        . "of the time that is left, at least $least s, at most $most s. Known "
        . "tickets are answered from shared memory.\n\n"
        . rows(['people who wait', 'minutes until the last is in', 'polls /s',
                @memory], @rows)
        . (@memory ? 'A poll takes ' . number($ticket{poll_us})
                     . " us of nginx, a ticket $ticket{redis} bytes of Redis and "
                     . "$ticket{zone} of shared memory: measured in `$ticket{from}/`.\n\n"
                   : 'What polls and tickets cost was not measured here: '
                     . "`make bench ARGS=million`.\n\n");
}

# sizing RUN RESULTS [SECONDS-OF-A-WAY => WHOSE]...
sub sizing {
    my ($run, $results, @paces) = @_;
    my $at = greatest($run, 'reservation') or return '';

    return "## Sizing\n\nAt the greatest rate (" . number(held($at))
        . "/s by $at->{tool}) the servers do "
        . number($at->{requests} / (servers($at) || 1))
        . ' requests a second for each core that they use, and a way from the '
        . 'queue to the payment takes '
        . join(', ', map { sprintf '%.3f ms of %s',
                                   1000 * used($at, $_->[0]) / $at->{done}, $_->[1] }
                         grep { $_->[0] ne 'client' } @Who)
        . ".\n\n" . buyers($at, \@paces) . waiting($run, $at, $results);
}

1;
