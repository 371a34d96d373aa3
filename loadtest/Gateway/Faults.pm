package Gateway::Faults;

# How calls are to fail: by switches, which hold for all calls or for those of a
# kind, with a rate each, and by steps, which are a payment's own and say what
# its next calls do.
#
# A step is KIND[_before|_after][@MS].  "before" and "after" say whether the
# call has been processed when it fails; MS is its latency.

use strict;
use warnings;

use Cpanel::JSON::XS ();

use constant CALLS => qw( confirm lookup cancel );

# The rates, in the order in which one is drawn.
my @Rates = qw( error decline processing drop drop_before hang hang_after
                html html_after truncated stall empty );

# When each kind fails, unless it is said.
my %When = (ok => 'after', decline => 'after', drop => 'after',
            truncated => 'after', stall => 'after', empty => 'after',
            hang => 'before', html => 'before', processing => 'before',
            kill => 'before');

my %Count = map { $_ => 1 } qw( latency_ms jitter_ms );
my %Rate = map { ("${_}_rate" => 1) } @Rates;

my $True = Cpanel::JSON::XS::true();
my $False = Cpanel::JSON::XS::false();

my %Default = (seed => 1, expires_s => 600, error_stored => $True,
               webhook => undef, webhook_tries => 7, webhook_wait_ms => 200);

sub new {
    my ($class) = @_;

    my $self = bless {}, $class;
    $self->set(defaults());
    return $self;
}

sub defaults {
    my %call = (error => '500', map { $_ => 0 } keys %Count, keys %Rate);
    return { %Default, map { $_ => { %call } } CALLS };
}

sub get { return $_[0]{$_[1]} }
sub all { return { %{ $_[0] } } }

# Takes what change() has checked, or the journal has.
sub set {
    my ($self, $switches) = @_;

    for my $name (keys %$switches) {
        my $value = $switches->{$name};

        if (ref $value eq 'HASH') {
            $self->{$name}{$_} = $value->{$_} for keys %$value;
        } else {
            $self->{$name} = $value;
        }
    }

    srand $self->{seed} if exists $switches->{seed};
}

# Dies of what is no switch, before anything is changed.
sub change {
    my ($self, $book, $patch) = @_;

    my %change;

    for my $name (sort { ref $patch->{$a} ? 1 : -1 } keys %$patch) {
        my $value = $patch->{$name};

        if (exists $Default{$name}) {
            $change{$name} = check_global($name, $value);
        } elsif (ref $value eq 'HASH' && grep { $_ eq $name } CALLS) {
            $change{$name}{$_} = check($_, $value->{$_}) for keys %$value;
        } else {
            $change{$_}{$name} = check($name, $value) for CALLS;
        }
    }

    for my $call (grep { ref $change{$_} eq 'HASH' } keys %change) {
        my %then = (%{ $self->{$call} }, %{ $change{$call} });
        my $sum = 0;

        $sum += $then{$_} for keys %Rate;
        die "the rates of $call are more than 1\n" if $sum > 1 + 1e-9;
    }

    $book->record('switches', undef, \%change);
}

sub check_global {
    my ($name, $value) = @_;

    if ($name eq 'webhook') {
        die "webhook is no http:// URL of this machine\n"
            if defined $value
               && $value !~ m{^http://(?:127\.0\.0\.1|localhost)
                              (?::\d+)?(?:/\S*)?\z}x;
        return $value;
    }

    return $value ? $True : $False if $name eq 'error_stored';
    return check_number($name, $value);
}

sub check {
    my ($name, $value) = @_;

    if ($name eq 'error') {
        my $step = step($value);
        die "error is no status and no code\n"
            if !$step->{status} && !$step->{code};
        return $value;
    }

    die "there is no switch $name\n" if !$Count{$name} && !$Rate{$name};
    check_number($name, $value);
    die "$name is more than 1\n" if $Rate{$name} && $value > 1;

    return $value;
}

sub check_number {
    my ($name, $value) = @_;

    die "$name is no number\n"
        if ref $value || ($value // '') !~ /^\d+(?:\.\d+)?(?:e-?\d+)?$/i;
    return $value + 0;
}


# The step that a word means: what, when, and perhaps code, status, ms.
sub step {
    my ($word) = @_;

    my ($what, $when, $ms)
        = ($word // '') =~ /^(\w+?)(?:_(before|after))?(?:@(\d+))?$/
        or die "there is no step '" . ($word // 'null') . "'\n";
    my %step = (what => $what, when => $when // $When{$what} // 'before',
                ms => $ms);

    if ($what =~ /^[45]\d\d$/) {
        @step{qw( what status )} = ('status', $what);
    } elsif (Gateway::Toss::is_decline($what)) {
        @step{qw( what code when )} = ('decline', $what, 'after');
    } elsif (Gateway::Toss::is_error($what)) {
        @step{qw( what code )} = ('error', $what);
    } elsif (!$When{$what}) {
        die "there is no step '$word'\n";
    }

    die "$what cannot be before\n"
        if $step{when} eq 'before'
           && $what =~ /^(?:ok|decline|truncated|stall|empty)$/;

    return \%step;
}

# What a call does: the payment's next step, or what is drawn.
sub choose {
    my ($self, $book, $call, $payment) = @_;

    my $switches = $self->{$call};
    my $steps = $payment ? $payment->{then}{$call} : undef;
    my $step;

    if ($steps && @$steps) {
        $step = step($steps->[0]);
        $book->record('step', $payment->{key}, $call);
    } else {
        $step = $self->draw($switches);
    }

    $step->{ms} //= $switches->{latency_ms}
                    + ($switches->{jitter_ms} && rand $switches->{jitter_ms});
    return $step;
}

sub draw {
    my ($self, $switches) = @_;

    my $left = rand;

    for my $name (@Rates) {
        $left -= $switches->{"${name}_rate"};
        return step($name eq 'error' ? $switches->{error} : $name)
            if $left < 0;
    }

    return { what => 'ok', when => 'after' };
}

1;
