package Report::Drill;

# Incident sheets: what drills/NAME.txt says of a fault, with the times and the
# figures of the run.

use strict;
use warnings;

use Exporter qw( import );
use Report::Files qw( facts slurp stolen_percent table was_disturbed );
use Report::Markdown qw( number rows );

our @EXPORT_OK = qw( drill_row drill_head sheet );


sub sheet_text {
    my ($run) = @_;

    return map { /^([a-z ]+): (.*)/ ? ($1, $2) : () }
               split /\n/, slurp("$run/sheet.txt");
}

sub events { return map { [split /\t/, $_, -1] } split /\n/, slurp("$_[0]/events.tsv"); }

sub seconds {
    my ($ms) = @_;

    return defined $ms ? sprintf('%.1f s', $ms / 1000) : '-';
}

sub verdicts {
    my ($run) = @_;

    return map { [split /\t/, $_] } split /\n/, slurp("$run/verdicts.tsv");
}

sub has_failed { return scalar grep { $_->[0] ne 'ok' } verdicts(@_); }

# Older runs do not say whether anything looked for alerts, or which one had to
# fire: then any alert shows the one, and the first is the other.
sub was_monitored {
    my ($run, $about) = @_;

    return $about->{monitored} // grep { $_->[1] =~ /^alert / } events($run);
}

# The alert, when it fired, when it ended.
sub alert {
    my ($run, $fact, $about) = @_;

    return ('no monitoring ran', '-', '-') if !was_monitored($run, $about);
    return ('**none fired**', '-', '-') if !exists $fact->{alert_ms};
    return ($fact->{alert_name} // 'the first', seconds($fact->{alert_ms}),
            exists $fact->{alert_ended_ms} ? seconds($fact->{alert_ended_ms})
            : exists $fact->{alert_name} ? '**not ended**' : '-');
}

sub alert_text {
    my ($name, $after, $ended) = alert(@_);

    return "alert: $name" if $after eq '-';
    return "alert: $name after $after"
           . ($ended eq '-' ? '' : $ended =~ /^\*/ ? ', **which did not end**'
              : ", which ended $ended after the fault was over");
}

sub drill_head {
    return ['drill', 'first error after', 'alert', 'after',
            'ended after the end', 'well again after the end',
            'calls that failed', 'other routes', 'all of it'];
}

# drill_row ABOUT: of a run's facts, with its directory as `dir`
sub drill_row {
    my ($about) = @_;
    my $run = $about->{dir};
    my %sheet = sheet_text($run);
    my %fact = facts("$run/facts.tsv");

    return [$sheet{title}, seconds($fact{first_error_ms}),
            alert($run, \%fact, $about), seconds($fact{recovered_ms}),
            "$fact{calls_failed} of $fact{calls}",
            ($fact{kept} ? 'kept their goal' : '**broke their goal**')
            . ", p95 at most $fact{kept_worst_p95_ms} ms",
            (has_failed($run) ? '**failed**' : 'passed')
            . (was_disturbed($about)
               ? ', the host took ' . stolen_percent($about) . ' %' : '')];
}


# What happened when, from the beginning of the fault on.
sub timeline {
    my ($run) = @_;
    my @events = events($run);
    my ($begun) = map { $_->[1] eq 'fault begun' ? $_->[0] : () } @events;

    return rows(['after', 'what', ''],
                map { [sprintf('%+.1f s', ($_->[0] - $begun) / 1000),
                       @$_[1, 2]] } @events);
}

# Of each route: failed calls and p95, before, meanwhile and afterwards.
sub by_route {
    my ($run) = @_;
    my (%of, %phase);

    for my $row (table("$run/phases.tsv")) {
        $of{ $row->{route} }{ $row->{phase} } = $row;
    }

    return rows(['route', 'calls meanwhile', 'failed', 'with',
                 'p95 before, ms', 'meanwhile', 'in the 5 s after', 'afterwards'],
                map { my $phase = $of{$_};
                      my $during = $phase->{during};
                      [$_, $during->{calls}, $during->{failed},
                       $during->{statuses},
                       map { $_->{calls} ? number($_->{p95}) : '-' }
                           @$phase{qw( before during recovery after )}] }
                    sort keys %of);
}

# What only the drill of the payment gateway knows.
sub gateway {
    my ($fact) = @_;

    return if !exists $fact->{times_open};

    my %f = (map({ $_ => '-' } qw( first_open_ms open_after_threshold_ms
                                   closed_ms probes_most refused_p99_ms
                                   others_p95_ratio )),
             %$fact);

    return ['breaker', "Open $f{first_open_ms} ms after the beginning, "
                . "$f{open_after_threshold_ms} ms after clients had seen its "
                . "threshold; $f{half_opens} times half-open, with at most "
                . "$f{probes_most} of $f{probes_permitted} probes before it opened "
                . "again; closed $f{closed_ms} ms after the fault was over."],
           ['clients', "$f{refused} of $f{cards} payments by card were refused, "
                . "p99 $f{refused_p99_ms} ms; $f{pending_answers} were 202 PENDING. "
                . "p95 of all other calls: $f{others_p95_before_ms} ms before, "
                . "$f{others_p95_open_ms} ms while the breaker was open "
                . "($f{others_p95_ratio} times)."],
           ['money', number($f{won_approved}) . ' won at the gateway, '
                . "$f{won_apart} won apart from ours; PAID $f{payments_paid}, "
                . "DECLINED $f{payments_declined}, REFUNDED $f{payments_refunded}, "
                . "PENDING $f{payments_pending}, REFUNDING "
                . "$f{payments_refunding}; without seats or refund: "
                . "$f{payments_without_seats}."];
}

# What a reader must know before the times.
sub disturbed {
    my ($about) = @_;

    return '' if !was_disturbed($about);
    return '**The host took ' . stolen_percent($about) . ' % of the processors '
           . "meanwhile: the times below are also those of waiting for it.**\n\n";
}

# sheet ABOUT: of a run's facts, with its directory as `dir`
sub sheet {
    my ($about) = @_;
    my $run = $about->{dir};
    my %sheet = sheet_text($run);
    my %fact = facts("$run/facts.tsv");

    return "### $sheet{title}\n\n" . disturbed($about)
        . rows(['', "$about->{test}, $about->{began}"],
               ['cause', $sheet{cause}],
               ['seen by', "$sheet{'seen by'} First error "
                . seconds($fact{first_error_ms}) . ' after the beginning; '
                . alert_text($run, \%fact, $about) . '.'],
               ['impact', "$sheet{impact} Here: $fact{calls_failed} of "
                . "$fact{calls} calls failed in "
                . seconds($fact{outage_ms}) . '. Unhurt were '
                . "$fact{kept_routes} (p95 at most $fact{kept_worst_p95_ms} ms)."],
               ['recovery', "$sheet{recovery} Here: "
                . seconds($fact{recovered_ms}) . ' after the fault was over.'],
               gateway(\%fact),
               ['prevention', $sheet{prevention}])
        . timeline($run) . by_route($run)
        . join('', map { "- $_->[0]: $_->[1]\n" } verdicts($run)) . "\n";
}

1;
