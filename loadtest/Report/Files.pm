package Report::Files;

# What the runs leave: tables, k6's summaries, what `watch` and /metrics said meanwhile.

use strict;
use warnings;

use Exporter qw( import );
use JSON::PP ();

our @EXPORT_OK = qw( slurp spew json table facts percentile used_between
                     stolen_percent was_disturbed waits_between lanes_between );

# of the runner, for runs from before it was a fact
use constant MAX_STOLEN => 5;


sub slurp {
    my ($file) = @_;

    open my $in, '<:encoding(UTF-8)', $file or die "$file: $!\n";
    local $/;
    return scalar <$in> // '';
}

sub spew {
    my ($file, $text) = @_;

    open my $out, '>:encoding(UTF-8)', "$file.new" or die "$file: $!\n";
    print $out $text;
    close $out or die "$file: $!\n";
    rename "$file.new", $file or die "$file: $!\n";
}

sub json {
    my ($file) = @_;

    return JSON::PP->new->decode(slurp($file));
}

# Lines with the names of the columns in the first, as a list of hashes.
sub table {
    my ($file) = @_;
    my ($head, @lines) = split /\n/, slurp($file);
    my @names = split /\t/, $head // '';

    return map { my %row; @row{@names} = split /\t/, $_, -1; \%row } @lines;
}

# Lines of a name and a value.
sub facts {
    my ($file) = @_;

    return map { /^([^\t]*)\t(.*)/ ? ($1, $2) : () } split /\n/, slurp($file);
}

# of a sorted list
sub percentile {
    my ($share, @sorted) = @_;

    return @sorted ? $sorted[int($share * $#sorted + 0.5)] : 0;
}


# Cores that each had between two times (ms), as { who => [user, system] }:
# between the looks of `watch` that lie nearest inside.
sub used_between {
    my ($file, $from, $to) = @_;
    my (%first, %last, $begin, $end);

    for (split /\n/, slurp($file)) {
        my ($ms, $who, @used) = split /\t/;
        next if @used < 2 || $ms < $from || $ms > $to;
        $begin //= $ms;
        $end = $ms;
        $first{$who} //= [$ms, @used];
        $last{$who} = \@used;
    }

    my $seconds = defined $begin ? ($end - $begin) / 1000 : 0;
    return if $seconds <= 0;

    # who was not there at the first look had used nothing by then
    return map {
        my ($ms, @before) = @{ $first{$_} };
        my @after = @{ $last{$_} };
        @before = (0, 0) if $ms > $begin;
        $_ => [map { ($after[$_] - $before[$_]) / $seconds } 0, 1]
    } keys %first;
}

# Of the processors, what the host took while a run lasted; nothing if nobody
# looked. The run's facts, with its directory as `dir`.
sub stolen_percent {
    my ($about) = @_;
    my $file = "$about->{dir}/cpu.tsv";

    return $about->{stolen_percent} if defined $about->{stolen_percent};
    my %used = -s $file ? used_between($file, 0, 9**15) : ();
    my ($all, $idle, $stolen) = map { my $u = $used{$_} // [0, 0];
                                      $u->[0] + $u->[1] } qw( all idle stolen );
    my $cores = $all + $idle + $stolen;
    return $cores ? sprintf('%.1f', 100 * $stolen / $cores) : undef;
}

# Whether the host took so much that the run's times say little.
sub was_disturbed {
    my ($about) = @_;

    return (stolen_percent($about) // 0) > ($about->{max_stolen} // MAX_STOLEN);
}

# Sessions of PostgreSQL that on the average did each thing, between two times.
sub waits_between {
    my ($file, $from, $to) = @_;
    my (%sum, %looks);

    for (split /\n/, slurp($file)) {
        my ($ms, $what, $count) = /^(\d+)\t([^\t]*)\t(\d+)$/ or next;
        next if $ms < $from || $ms > $to;
        $sum{$what} += $count;
        $looks{$ms} = 1;
    }

    return map { $_ => $sum{$_} / keys %looks } keys %sum;
}

# What /metrics said of the lanes between two times: by how much each grew in a
# second, and the last value of each.
sub lanes_between {
    my ($file, $from, $to) = @_;
    my (%first, %last, $begin, $end);

    for (split /\n/, slurp($file)) {
        my ($ms, $name, $value) = split /\t/;
        next if !defined $value || $ms < $from || $ms > $to;
        $begin //= $ms;
        $end = $ms;
        $first{$name} //= $value;
        $last{$name} = $value;
    }

    my $seconds = defined $begin ? ($end - $begin) / 1000 : 0;
    return ({}, {}) if $seconds <= 0;
    return ({ map { $_ => ($last{$_} - $first{$_}) / $seconds } keys %last },
            \%last);
}

1;
