package Linear;

# Whether a history is linearizable: whether its operations, each of which took
# some time, could have happened one after the other, each at a moment of its
# own time, with the results that they had (Wing and Gong, 1993; with the memory
# of Lowe, 2017).
#
#   linearizable($step, $state, { from => 1.02, to => 1.07, ... }, ...)
#
# $step->($state, $operation) returns the state after the operation, or undef
# if it could not have had its result in that state.  States are strings.

use strict;
use warnings;

use Exporter qw( import );

our @EXPORT_OK = qw( linearizable );

no warnings 'recursion';

sub linearizable {
    my ($step, $state, @history) = @_;

    my @operations = sort { $a->{from} <=> $b->{from} } @history;
    my %seen;

    # $done: one character an operation
    my $search;
    $search = sub {
        my ($state, $first, $done) = @_;

        $first++ while $first < @operations && substr($done, $first, 1) eq '1';
        return 1 if $first == @operations;
        return 0 if $seen{"$state " . substr $done, $first}++;

        # what began after another ended cannot come before it
        my $end = $operations[$first]{to};

        for my $i ($first .. $#operations) {
            next if substr($done, $i, 1) eq '1';

            my $operation = $operations[$i];
            last if $operation->{from} > $end;
            $end = $operation->{to} if $operation->{to} < $end;

            my $after = $step->($state, $operation) // next;
            my $then = $done;
            substr $then, $i, 1, '1';
            return 1 if $search->($after, $first, $then);
        }

        return 0;
    };

    my $answer = $search->($state, 0, '0' x @operations);
    undef $search;

    return $answer;
}

1;
