package Report::Capacity;

# The greatest rates, what stands in the way of greater ones, and what that means
# for other numbers of people.

use strict;
use warnings;

use Exporter qw( import );
use Report::Files qw( facts table );
use Report::Markdown qw( number rows );
use Report::Plot qw( lines stacked );

our @EXPORT_OK = qw( capacity greatest sizing summary );

my @Who = (['nginx', 'nginx'], ['postgres', 'PostgreSQL'], ['redis', 'Redis'],
           ['client', 'load generator']);
my %What = (reservation => 'ways from the queue to the payment',
            balance => 'looks and charges');

# a part that is at work for so much of its time is what the others wait for
use constant FULL => 0.85;

# of all cores, what the kernel and the watcher take, and nobody else should
use constant QUIET => 0.15;


sub steps_of {
    my ($run, $flow, $tool) = @_;

    return sort { $a->{offered} <=> $b->{offered} }
           grep { $_->{flow} eq $flow && (!$tool || $_->{tool} eq $tool) }
                table("$run/steps.tsv");
}

sub distinct { my %seen; return grep { !$seen{$_}++ } @_; }
sub flows { return distinct(map { $_->{flow} } table("$_[0]/steps.tsv")); }
sub tools { return distinct(map { $_->{tool} } table("$_[0]/steps.tsv")); }

# The fastest step that kept the goal; by one tool, or by the better one.
sub greatest { my @kept = grep { $_->{kept} } steps_of(@_); return $kept[-1]; }

# The slowest one by that tool that was faster and broke it.
sub broken {
    my ($run, $step) = @_;

    return (grep { !$_->{kept} && $_->{offered} > $step->{offered} }
                 steps_of($run, $step->{flow}, $step->{tool}))[0];
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
            [(map { $_->[1] } @Who), 'everything else', 'idle'],
            map { my $step = $_;
                  my @used = map { used($step, $_->[0]) } @Who;
                  ["$step->{offered}/s", @used, rest($step), $step->{idle}]
            } @steps);
    return "![p95 over the rate](latency-$flow.svg)\n\n"
           . "![processors over the rate](processor-$flow.svg)\n\n";
}

# capacity RUN DIRECTORY: the section, with charts in the directory
sub capacity {
    my ($run, $dir) = @_;
    my %about = facts("$run/about.tsv");
    my $text = "## The greatest rate\n\nIn steps of $about{step_s} s, begun at "
        . "their rate whatever becomes of the ones before; a step keeps the goal "
        . "if the p95 of each route is at most $about{goal_p95_ms} ms, at most "
        . sprintf('%g', 100 * $about{goal_errors})
        . " % of the requests fail, and what was begun is done.\n\n";

    for my $flow (flows($run)) {
        $text .= "### $flow: $What{$flow}\n\n" . charts($run, $dir, $flow,
                                                        $about{goal_p95_ms});

        for my $tool (tools($run)) {
            my @steps = steps_of($run, $flow, $tool) or next;
            $text .= "By $tool (columns from nginx on: cores):\n\n"
                     . step_table(@steps);
        }

        my $at = greatest($run, $flow) or next;
        $text .= "**What stands in the way at $at->{offered}/s by $at->{tool}:** "
                 . verdict($run, $at) . "\n\n" . ranking($at, broken($run, $at))
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
            my $at = greatest($run, $flow, $tool);

            push @rows, [$flow, $tool, $at ? $at->{offered} : 'none',
                         $at ? (number($at->{requests}), number($at->{worst_p95}),
                                sprintf('%.2f %%', 100 * $at->{errors}),
                                share(used($at, 'client') / ($at->{all} || 1)))
                             : ('', '', '', '')];
        }
    }

    my $text = rows(['flow', 'found by', 'greatest rate /s', 'requests /s',
                     'p95 of the slowest route, ms', 'errors',
                     'the generator\'s share of the processor time'], @rows);

    for my $flow (flows($run)) {
        my $at = greatest($run, $flow) or next;
        $text .= "- This deployment holds **$at->{offered} $What{$flow} a "
                 . "second**. The bottleneck there: " . verdict($run, $at) . "\n";
    }

    return "$text\n";
}


# sizing RUN SECONDS WHERE-FROM HUMAN-SECONDS
sub sizing {
    my ($run, $seconds, $from, $human) = @_;
    my $at = greatest($run, 'reservation') or return '';
    my $busy = ($at->{all} + $at->{stolen}) / (cores($at) || 1);
    my %cost = map { $_ => used($at, $_) / $at->{done} }
                   qw( nginx postgres redis );
    my $cost = $cost{nginx} + $cost{postgres} + $cost{redis};
    my @paces = ([$seconds, $from], [$human, 'a person who thinks']);
    my @rows;

    for my $buyers (1000, 10000, 100000) {
        for (@paces) {
            my ($pace, $name) = @$_;
            next if !$pace;
            my $rate = $buyers / $pace;

            push @rows, [$buyers, sprintf('%s s (%s)', number($pace), $name),
                number($rate), number($rate * $at->{requests} / $at->{done}),
                (map { number($rate * $cost{$_} / $busy) }
                     qw( nginx postgres redis )),
                number($rate * $cost / $busy),
                number($rate / $at->{offered})];
        }
    }

    return "## Sizing\n\nAt the greatest rate ($at->{offered}/s by $at->{tool}) "
        . 'the servers do '
        . number($at->{requests} / (servers($at) || 1))
        . ' requests a second for each core that they use, and a way from the '
        . 'queue to the payment takes '
        . join(', ', map { sprintf '%.3f ms of %s', 1000 * $cost{$_->[0]}, $_->[1] }
                         grep { $_->[0] ne 'client' } @Who)
        . ".\n\nRate = buyers who are in at once / seconds that a way takes. "
        . 'Cores = rate x processor time of a way / ' . sprintf('%.2f', $busy)
        . ', the share of the processors that was in use when the goal was still '
        . "kept. Deployments = rate / $at->{offered}. Who waits in the queue costs "
        . "a poll now and then, and is not counted.\n\n"
        . rows(['buyers at once', 'seconds of a way', 'ways /s', 'requests /s',
                'cores for nginx', 'for PostgreSQL', 'for Redis', 'cores in all',
                'deployments like this one'], @rows);
}

1;
